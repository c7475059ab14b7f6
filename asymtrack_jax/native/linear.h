// Linear layers and convolutions, computed by one register-blocked matrix product, `apply`.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "threads.h"

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // ROWS x 2 accumulator vectors must fit in the registers
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 6;
#else
constexpr int LANES = 4, ROWS = 6;
#endif
constexpr int PANEL = 32;   // columns of weights per panel; as in weights.py
constexpr int DEPTH = 192;  // rows of a panel that fit in the L1 cache beside the features
constexpr int TILE = 32;    // pixels per task
constexpr float EPSILON = 1e-5f;

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
void store(float* to, float value) { *to = value; }
int padded(int columns) { return (columns + PANEL - 1) / PANEL * PANEL; }
int tiles(int pixels) { return (pixels + TILE - 1) / TILE; }

// ---- Elementwise functions

// x times the normal distribution function, 0.5 + x R(x^2): R is a minimax polynomial that keeps
// the distribution function within 1.3e-8, before rounding.
inline float gelu(float x) {
  constexpr float limit = 5.2f;
  float z = x < -limit ? -limit : x > limit ? limit : x;
  float t = z * z * (2 / (limit * limit)) - 1;
  float r = 0.000202393805f;
  r = r * t - 0.000562292002f;
  r = r * t + 0.000600746595f;
  r = r * t - 0.000978510853f;
  r = r * t + 0.00266245954f;
  r = r * t - 0.00506737349f;
  r = r * t + 0.00801007872f;
  r = r * t - 0.0123533564f;
  r = r * t + 0.0181339263f;
  r = r * t - 0.0247634505f;
  r = r * t + 0.0319623226f;
  r = r * t - 0.0399253974f;
  r = r * t + 0.0500261099f;
  r = r * t - 0.0677438056f;
  r = r * t + 0.135949978f;
  return x * (0.5f + z * r);
}

inline float relu(float x) { return x < 0 ? 0 : x; }  // preserves NaN

// e^x for x <= 0: a power of two times a polynomial of the remainder, relative error 2e-9.
inline float exp_negative(float x) {
  float y = std::max(x, -87.0f) * 1.44269504f;
  float whole = std::nearbyint(y);
  float t = y - whole;
  float r = 0.000153458118f;
  r = r * t + 0.00133999312f;
  r = r * t + 0.00961848896f;
  r = r * t + 0.0555032878f;
  r = r * t + 0.240226469f;
  r = r * t + 0.693147206f;
  r = r * t + 1.0f;
  int32_t bits = (int32_t(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return r * power;
}

void normalise(const float* x, int channels, float* out) {
  float sum = 0, squares = 0;
  for (int c = 0; c < channels; ++c) sum += x[c];
  float mean = sum / channels;
  for (int c = 0; c < channels; ++c) squares += (x[c] - mean) * (x[c] - mean);
  float factor = 1 / std::sqrt(squares / channels + EPSILON);
  for (int c = 0; c < channels; ++c) out[c] = (x[c] - mean) * factor;
}

// ---- Linear layers

struct Linear {
  int depth, columns;
  const float *bias, *panels;  // [padded], [padded / PANEL, depth, PANEL]
};

struct Norm {
  const float *scale, *shift;

  void apply(const float* x, int channels, float* out) const {
    normalise(x, channels, out);
    for (int c = 0; c < channels; ++c) out[c] = out[c] * scale[c] + shift[c];
  }
};

// out[R, PANEL] = start + a[R, depth] b[depth, PANEL]; *_row are strides between rows, in floats.
template <int R>
void multiply(const float* a, long a_row, const float* b, int depth, const float* start,
              long start_row, float* out, long out_row) {
  for (int column = 0; column < PANEL; column += 2 * LANES) {
    Vector sum[R][2];
    for (int r = 0; r < R; ++r) {
      sum[r][0] = load(start + r * start_row + column);
      sum[r][1] = load(start + r * start_row + column + LANES);
    }
    const float* weights = b + column;
    for (int k = 0; k < depth; ++k, weights += PANEL) {
      Vector left = load(weights), right = load(weights + LANES);
      for (int r = 0; r < R; ++r) {
        sum[r][0] += a[r * a_row + k] * left;
        sum[r][1] += a[r * a_row + k] * right;
      }
    }
    for (int r = 0; r < R; ++r) {
      store(out + r * out_row + column, sum[r][0]);
      store(out + r * out_row + column + LANES, sum[r][1]);
    }
  }
}

template <int R, class... Arguments>
void multiply_rows(int rows, Arguments... arguments) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_rows<R - 1>(rows, arguments...);
  }
  multiply<R>(arguments...);
}

// out[rows, padded(columns)] = bias + a[rows, depth] weights.
void apply(const Linear& layer, const float* a, long a_row, int rows, float* out) {
  const long out_row = padded(layer.columns);
  for (int column = 0; column < layer.columns; column += PANEL) {
    const float* panel = layer.panels + long(column) * layer.depth;
    for (int k = 0; k < layer.depth; k += DEPTH) {
      int depth = std::min(DEPTH, layer.depth - k);
      for (int r = 0; r < rows; r += ROWS) {
        float* block = out + r * out_row + column;
        const float* start = k ? block : layer.bias + column;
        multiply_rows<ROWS>(std::min(ROWS, rows - r), a + r * a_row + k, a_row,
                            panel + long(k) * PANEL, depth, start, k ? out_row : 0L, block,
                            out_row);
      }
    }
  }
}

// ---- Images and convolutions

struct Image {
  int height, width, channels;
  float* data;

  int pixels() const { return height * width; }
  float* at(int pixel) const { return data + long(pixel) * channels; }
};

struct Convolution {
  int side, stride;  // kernel size; the padding is half of it
  Linear linear;

  int reduced(int length) const { return (length - 1) / stride + 1; }

  // Computes a tile of output pixels; calls finish(pixel, values) per pixel.
  template <class Finish>
  void tile(const Image& x, int index, const Finish& finish) const {
    Workspace& mine = scratch();
    int first = index * TILE, width = reduced(x.width);
    int rows = std::min(TILE, reduced(x.height) * width - first);
    const float* a = x.at(first);
    if (side > 1) {
      float* patches = mine.take(long(TILE) * linear.depth);
      for (int r = 0; r < rows; ++r) {
        int pixel = first + r;
        patch(x, pixel / width * stride - side / 2, pixel % width * stride - side / 2,
              patches + long(r) * linear.depth);
      }
      a = patches;
    }
    long out_row = padded(linear.columns);
    float* out = mine.take(TILE * out_row);
    apply(linear, a, linear.depth, rows, out);
    for (int r = 0; r < rows; ++r) finish(first + r, out + r * out_row);
  }

  void patch(const Image& x, int top, int left, float* out) const {
    int skip = std::max(0, -left), end = std::min(side, x.width - left);
    for (int i = 0; i < side; ++i, out += side * x.channels) {
      int y = top + i;
      if (y < 0 || y >= x.height) {
        std::fill_n(out, side * x.channels, 0.0f);
        continue;
      }
      const float* from = x.at(y * x.width + left + skip);
      std::fill_n(out, skip * x.channels, 0.0f);
      std::copy_n(from, (end - skip) * x.channels, out + skip * x.channels);
      std::fill_n(out + end * x.channels, (side - end) * x.channels, 0.0f);
    }
  }
};

// A 3x3 convolution of stride 1 by Winograd's F(2x2, 3x3): 2x2 outputs, computed from a 4x4 patch,
// take 16 products instead of 36.
struct Winograd {
  static constexpr int GROUP = 16;  // 2x2 outputs per task
  int in_channels, out_channels;
  const float *bias, *panels;  // panels of one linear layer per position in a 4x4 patch

  static int tasks(const Image& x) {
    return ((x.height + 1) / 2 * ((x.width + 1) / 2) + GROUP - 1) / GROUP;
  }

  // Computes a group of outputs; calls finish(pixel, values) per pixel.
  template <class Finish>
  void tile(const Image& x, int index, const Finish& finish) const {
    const int C = in_channels, row = padded(out_channels), across = (x.width + 1) / 2;
    const int first = index * GROUP;
    const int count = std::min(GROUP, (x.height + 1) / 2 * across - first);
    // Not a power of two, or all positions would map to the same sets of the L1 cache.
    const long in_step = GROUP * C + PANEL, out_step = GROUP * row + PANEL;
    Workspace& mine = scratch();
    float *patches = mine.take(16 * in_step), *products = mine.take(16 * out_step),
          *zeros = mine.take(std::max(C, row)), *out = mine.take(4L * row);
    std::fill_n(zeros, std::max(C, row), 0.0f);
    for (int t = 0; t < count; ++t) {
      const int top = (first + t) / across * 2 - 1, left = (first + t) % across * 2 - 1;
      const float* from[16];
      for (int i = 0; i < 16; ++i) {
        int y = top + i / 4, z = left + i % 4;
        bool inside = y >= 0 && y < x.height && z >= 0 && z < x.width;
        from[i] = inside ? x.at(y * x.width + z) : zeros;
      }
      int c = 0;
      for (; c + LANES <= C; c += LANES) enter<true>(from, c, patches + t * C + c, in_step);
      for (; c < C; ++c) enter<false>(from, c, patches + t * C + c, in_step);
    }
    for (int i = 0; i < 16; ++i) {
      const Linear layer{C, out_channels, zeros, panels + long(i) * C * row};
      apply(layer, patches + i * in_step, C, count, products + i * out_step);
    }
    for (int t = 0; t < count; ++t) {
      for (int c = 0; c < row; c += LANES) {
        leave(products + t * row + c, out_step, load(bias + c), out + c, row);
      }
      const int y = (first + t) / across * 2, z = (first + t) % across * 2;
      for (int k = 0; k < 4; ++k) {
        if (y + k / 2 < x.height && z + k % 2 < x.width) {
          finish((y + k / 2) * x.width + z + k % 2, out + k * row);
        }
      }
    }
  }

  template <bool WIDE>
  static auto read(const float* from) {
    if constexpr (WIDE) {
      return load(from);
    } else {
      return *from;
    }
  }

  // Computes B' d B of a patch d, at channel c or, if WIDE, at LANES channels from c.
  template <bool WIDE>
  static void enter(const float* const from[16], int c, float* to, long step) {
    decltype(read<WIDE>(nullptr)) d[16];
    for (int i = 0; i < 16; i += 4) {
      auto d0 = read<WIDE>(from[i] + c), d1 = read<WIDE>(from[i + 1] + c);
      auto d2 = read<WIDE>(from[i + 2] + c), d3 = read<WIDE>(from[i + 3] + c);
      d[i] = d0 - d2, d[i + 1] = d1 + d2, d[i + 2] = d2 - d1, d[i + 3] = d1 - d3;
    }
    for (int j = 0; j < 4; ++j) {
      auto d0 = d[j], d1 = d[4 + j], d2 = d[8 + j], d3 = d[12 + j];
      store(to + j * step, d0 - d2);
      store(to + (4 + j) * step, d1 + d2);
      store(to + (8 + j) * step, d2 - d1);
      store(to + (12 + j) * step, d1 - d3);
    }
  }

  // Computes A' m A of products m, plus the bias: four pixels.
  static void leave(const float* from, long step, Vector bias, float* to, int row) {
    Vector above[4], below[4];
    for (int j = 0; j < 4; ++j) {
      Vector m0 = load(from + j * step), m1 = load(from + (4 + j) * step);
      Vector m2 = load(from + (8 + j) * step), m3 = load(from + (12 + j) * step);
      above[j] = m0 + m1 + m2, below[j] = m1 - m2 - m3;
    }
    store(to, bias + above[0] + above[1] + above[2]);
    store(to + row, bias + above[1] - above[2] - above[3]);
    store(to + 2 * row, bias + below[0] + below[1] + below[2]);
    store(to + 3 * row, bias + below[1] - below[2] - below[3]);
  }
};

}  // namespace
