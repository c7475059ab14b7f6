// The fused network for CPUs, as two functions that XLA can call: float32, any batch size.
//
// Features of one image are rows of channels, a row a pixel. All large products go through one
// register-blocked kernel, `apply`, on tiles of TILE pixels whose intermediate results stay in the
// nearest caches. Weights come in one array in the order in which `read_network` takes them;
// `weights.py` writes it.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // ROWS x 2 vectors of sums must fit in the registers
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 6;
#else
constexpr int LANES = 4, ROWS = 6;
#endif
constexpr int PANEL = 32;   // columns of weights that lie together; as in weights.py
constexpr int DEPTH = 192;  // rows of such a panel that fit in the first cache, beside features
constexpr int TILE = 32;    // pixels that are worked on at once
constexpr int MAX_THREADS = 8;
constexpr int CONTEXT = 7;  // side of the depthwise kernels
constexpr float EPSILON = 1e-5f;

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
int padded(int columns) { return (columns + PANEL - 1) / PANEL * PANEL; }
int tiles(int pixels) { return (pixels + TILE - 1) / TILE; }

// Memory that is kept from call to call: the same requests in the same order get the same blocks.
class Workspace {
 public:
  void reset() { next_ = 0; }
  float* take(size_t count) {
    if (next_ == blocks_.size()) blocks_.push_back({});
    Block& block = blocks_[next_++];
    if (block.count < count) {
      size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
      block.data.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      if (!block.data) throw std::bad_alloc();
      block.count = count;
    }
    return block.data.get();
  }

 private:
  struct Block {
    std::unique_ptr<float, decltype(&std::free)> data{nullptr, &std::free};
    size_t count = 0;
  };
  std::vector<Block> blocks_;
  size_t next_ = 0;
};

Workspace& scratch() {  // a task's own
  static thread_local Workspace workspace;
  workspace.reset();
  return workspace;
}

// Spins until done(); a machine with more to do than cores gets its turns in between.
template <class Done>
void wait_until(const Done& done) {
  for (int turns = 1; !done(); ++turns) {
    if (turns % 1024 == 0) std::this_thread::yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

// Threads that share the tasks of one call after another, and spin between them: waking a thread
// takes longer than many a task. Nobody waits for a helper that has not come.
class Team {
 public:
  explicit Team(ffi::ThreadPool& pool) : state_(std::make_shared<State>()) {
    int threads = std::min<int64_t>(pool.num_threads(), MAX_THREADS);
    for (int i = 1; i < threads; ++i) {
      pool.Schedule([state = state_] {
        wait_until([&] {
          state->work();
          return state->stop.load(std::memory_order_relaxed);
        });
      });
    }
  }
  ~Team() { state_->stop = true; }

  void run(int count, const std::function<void(int)>& task) {
    state_->task = &task;
    state_->pending = count;
    state_->ticket.store(++phase_ << 32 | uint32_t(count), std::memory_order_release);
    state_->work();
    wait_until([&] { return !state_->pending.load(std::memory_order_acquire); });
  }

 private:
  struct State {
    std::atomic<uint64_t> ticket{0};  // which run it is, and how many tasks nobody has taken
    std::atomic<int> pending{0};      // tasks that are not done
    std::atomic<bool> stop{false};
    const std::function<void(int)>* task = nullptr;

    void work() {
      uint64_t seen = ticket.load(std::memory_order_acquire);
      while (uint32_t(seen)) {
        if (ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) {
          (*task)(int(uint32_t(seen)) - 1);
          pending.fetch_sub(1, std::memory_order_release);
          seen = ticket.load(std::memory_order_acquire);
        }
      }
    }
  };
  std::shared_ptr<State> state_;
  uint64_t phase_ = 0;
};

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

inline float relu(float x) { return x < 0 ? 0 : x; }  // what is not a number stays so

// e^x for x <= 0: a power of two times a polynomial of the rest, relative error 2e-9.
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

// out[R, PANEL] = start + a[R, depth] b[depth, PANEL], rows of which are so many floats apart.
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

// ---- Layers of the network

struct Image {
  int height, width, channels;
  float* data;

  int pixels() const { return height * width; }
  float* at(int pixel) const { return data + long(pixel) * channels; }
};

struct Convolution {
  int side, stride;  // padded by half its side
  Linear linear;

  int reduced(int length) const { return (length - 1) / stride + 1; }

  // A tile of output pixels; calls finish(pixel, values) with each one's values.
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

struct PatchEmbed {
  Convolution conv;
  Norm norm;

  Image operator()(Team& team, Workspace& space, const Image& x) const {
    int height = conv.reduced(x.height), width = conv.reduced(x.width);
    int channels = conv.linear.columns;
    Image out{height, width, channels, space.take(long(height) * width * channels)};
    team.run(tiles(out.pixels()), [&](int index) {
      conv.tile(x, index, [&](int pixel, const float* values) {
        norm.apply(values, channels, out.at(pixel));
      });
    });
    return out;
  }
};

struct BasicBlock {
  int expansion;
  Linear context_in;
  const float *kernel, *bias;  // depthwise: [CONTEXT, CONTEXT, padded], [padded]
  Linear context_out, fc1, fc2;

  // In place.
  void operator()(Team& team, Workspace& space, const Image& x) const {
    const int C = x.channels, stride = padded(C), pad = CONTEXT / 2;
    const Image framed{x.height + 2 * pad, x.width + 2 * pad, stride,
                       space.take(long(x.height + 2 * pad) * (x.width + 2 * pad) * stride)};
    team.run(framed.height, [&](int line) {
      float* out = framed.at(line * framed.width);
      int y = line - pad;
      if (y < 0 || y >= x.height) {
        std::fill_n(out, framed.width * stride, 0.0f);
        return;
      }
      float* normed = scratch().take(long(x.width) * C);
      for (int i = 0; i < x.width; ++i) normalise(x.at(y * x.width + i), C, normed + i * C);
      std::fill_n(out, pad * stride, 0.0f);
      apply(context_in, normed, C, x.width, out + pad * stride);
      std::fill_n(out + (pad + x.width) * stride, pad * stride, 0.0f);
    });
    team.run(tiles(x.pixels()), [&](int index) {
      const int first = index * TILE, rows = std::min(TILE, x.pixels() - first);
      const int wide = padded(expansion * C);
      Workspace& mine = scratch();
      float *normed = mine.take(TILE * C), *context = mine.take(TILE * stride),
            *factor = mine.take(TILE * stride), *hidden = mine.take(TILE * wide),
            *out = mine.take(TILE * stride);
      for (int r = 0; r < rows; ++r) normalise(x.at(first + r), C, normed + r * C);
      depthwise(framed, x.width, first, rows, context);
      for (int i = 0; i < rows * stride; ++i) context[i] = gelu(context[i]);
      apply(context_out, context, stride, rows, factor);
      apply(fc1, normed, C, rows, hidden);
      for (int r = 0; r < rows; ++r) {
        for (int e = 0; e < expansion; ++e) {
          float* h = hidden + r * wide + e * C;
          const float* f = factor + r * stride;
          if (expansion > 1) {
            for (int c = 0; c < C; ++c) h[c] = gelu(h[c]) * f[c];
          } else {
            for (int c = 0; c < C; ++c) h[c] *= f[c];
          }
        }
      }
      apply(fc2, hidden, wide, rows, out);
      for (int r = 0; r < rows; ++r) {
        float* to = x.at(first + r);
        for (int c = 0; c < C; ++c) to[c] += out[r * stride + c];
      }
    });
  }

  void depthwise(const Image& framed, int width, int first, int rows, float* out) const {
    constexpr int MANY = LANES == 16 ? 8 : 4;  // pixels whose sums fit in the registers
    for (int r = 0; r < rows;) {
      int pixel = first + r, left = std::min(rows - r, width - pixel % width);
      const float* from = framed.at(pixel / width * framed.width + pixel % width);
      float* to = out + r * framed.channels;
      if (left >= MANY) {
        filter<MANY>(from, framed.width, framed.channels, to);
        r += MANY;
      } else {
        filter<1>(from, framed.width, framed.channels, to);
        r += 1;
      }
    }
  }

  // N neighbouring pixels.
  template <int N>
  void filter(const float* from, int width, int channels, float* out) const {
    for (int c = 0; c < channels; c += LANES) {
      Vector sum[N];
      for (int n = 0; n < N; ++n) sum[n] = load(bias + c);
      for (int i = 0; i < CONTEXT; ++i) {
        const float* line = from + long(i) * width * channels + c;
        Vector taps[CONTEXT];
        for (int j = 0; j < CONTEXT; ++j) taps[j] = load(kernel + (i * CONTEXT + j) * channels + c);
        for (int j = 0; j < N + CONTEXT - 1; ++j) {
          Vector value = load(line + j * channels);
          for (int n = std::max(0, j - CONTEXT + 1); n <= std::min(j, N - 1); ++n) {
            sum[n] += taps[j - n] * value;
          }
        }
      }
      for (int n = 0; n < N; ++n) store(out + n * channels + c, sum[n]);
    }
  }
};

struct Kernels {  // what a template leaves for a modulation: [N, 3], [N, N]
  float *depthwise, *pointwise;
};

struct TemplateModulation {
  Linear template_assignment, search_assignment, kernel_weights;
  Norm prototype_norm;
  Linear gate;
  Norm norm;

  void kernels(Team& team, Workspace& space, const Image& z, const Kernels& out) const {
    const int N = template_assignment.columns, row = padded(kernel_weights.columns);
    float* assignment = space.take(long(z.pixels()) * N);
    const float* gathered = gather(team, space, z, template_assignment, assignment);
    float* weights = scratch().take(N * row);
    ::apply(kernel_weights, gathered, z.channels, N, weights);
    for (int n = 0; n < N; ++n) {
      std::copy_n(weights + n * row, 3, out.depthwise + n * 3);
      std::copy_n(weights + n * row + 3, N, out.pointwise + n * N);
    }
  }

  // In place.
  void apply(Team& team, Workspace& space, const Image& x, const Kernels& kernels) const {
    const int N = search_assignment.columns, C = x.channels;
    float* assignment = space.take(long(x.pixels()) * N);
    const float* gathered = gather(team, space, x, search_assignment, assignment);
    float *filtered = space.take(N * C), *prototypes = space.take(N * C);
    for (int n = 0; n < N; ++n) {
      const float *from = gathered + n * C, *taps = kernels.depthwise + 3 * n;
      for (int c = 0; c < C; ++c) {
        float before = c ? from[c - 1] : 0, after = c + 1 < C ? from[c + 1] : 0;
        filtered[n * C + c] = relu(taps[0] * before + taps[1] * from[c] + taps[2] * after);
      }
    }
    for (int m = 0; m < N; ++m) {
      float* mixed = space.take(C);
      std::fill_n(mixed, C, 0.0f);
      for (int n = 0; n < N; ++n) {
        for (int c = 0; c < C; ++c) mixed[c] += kernels.pointwise[m * N + n] * filtered[n * C + c];
      }
      prototype_norm.apply(mixed, C, prototypes + m * C);
    }
    float *gates = scratch().take(N * PANEL), *open = space.take(C);
    ::apply(gate, prototypes, C, N, gates);
    for (int c = 0; c < C; ++c) {
      float sum = 0;
      for (int n = 0; n < N; ++n) sum += gates[n * PANEL] * prototypes[n * C + c];
      open[c] = 1 / (1 + std::exp(-sum));
    }
    team.run(tiles(x.pixels()), [&](int index) {
      float *spread = scratch().take(C);
      int end = std::min(x.pixels(), (index + 1) * TILE);
      for (int pixel = index * TILE; pixel < end; ++pixel) {
        std::fill_n(spread, C, 0.0f);
        for (int n = 0; n < N; ++n) {
          float share = assignment[pixel * N + n];
          for (int c = 0; c < C; ++c) spread[c] += share * prototypes[n * C + c];
        }
        for (int c = 0; c < C; ++c) spread[c] *= open[c];
        norm.apply(spread, C, spread);
        float* to = x.at(pixel);
        for (int c = 0; c < C; ++c) to[c] += relu(spread[c]);
      }
    });
  }

  // Each prototype's sum of the pixels, weighted by their assignment to it, which is kept: [N, C].
  static const float* gather(Team& team, Workspace& space, const Image& x, const Linear& layer,
                             float* assignment) {
    const int N = layer.columns, C = x.channels, count = tiles(x.pixels());
    float* parts = space.take(long(count) * N * C);
    team.run(count, [&](int index) {
      int first = index * TILE, rows = std::min(TILE, x.pixels() - first);
      float* shares = scratch().take(TILE * PANEL);
      ::apply(layer, x.at(first), C, rows, shares);
      float* sums = parts + long(index) * N * C;
      std::fill_n(sums, N * C, 0.0f);
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < N; ++n) {
          float share = assignment[(first + r) * N + n] = shares[r * PANEL + n];
          const float* from = x.at(first + r);
          for (int c = 0; c < C; ++c) sums[n * C + c] += share * from[c];
        }
      }
    });
    for (int i = 1; i < count; ++i) {  // in this order on any number of threads
      for (int j = 0; j < N * C; ++j) parts[j] += parts[long(i) * N * C + j];
    }
    return parts;
  }
};

struct Perception {
  Convolution conv;
  Norm norm;
  const float* scale;

  Image operator()(Team& team, Workspace& space, const Image& x) const {
    Image out{x.height, x.width, x.channels, space.take(long(x.pixels()) * x.channels)};
    team.run(tiles(x.pixels()), [&](int index) {
      conv.tile(x, index, [&](int pixel, const float* values) {
        const float* from = x.at(pixel);
        float* to = out.at(pixel);
        norm.apply(values, x.channels, to);
        for (int c = 0; c < x.channels; ++c) to[c] = from[c] + scale[c] * relu(to[c]);
      });
    });
    return out;
  }
};

struct Attention {
  int heads, width;  // of a head
  Linear query, key_value, proj, fc1, fc2;  // the query is scaled

  // Of a template's tokens: [tokens, heads, width] each.
  void keys_values(Team& team, const Image& z, float* keys, float* values) const {
    const int inner = heads * width;
    team.run(tiles(z.pixels()), [&](int index) {
      project(z, index, key_value, [&](int token, const float* found) {
        std::copy_n(found, inner, keys + long(token) * inner);
        std::copy_n(found + inner, inner, values + long(token) * inner);
      });
    });
  }

  // In place.
  void operator()(Team& team, Workspace& space, const Image& x, int template_tokens,
                  const float* template_keys, const float* template_values) const {
    const int C = x.channels, tokens = x.pixels() + template_tokens, inner = heads * width;
    const int row = padded(tokens), value_row = padded(width);
    // Laid out as the weights of linear layers, a layer a head.
    float *keys = space.take(long(heads) * row * width),
          *values = space.take(long(heads) * tokens * value_row),
          *queries = space.take(long(x.pixels()) * inner),
          *attended = space.take(long(x.pixels()) * inner), *zeros = space.take(row);
    std::fill_n(zeros, row, 0.0f);
    auto keep = [&](int token, const float* key, const float* value) {
      for (int h = 0; h < heads; ++h) {
        float* to = keys + long(h) * row * width + token / PANEL * PANEL * width + token % PANEL;
        for (int i = 0; i < width; ++i) to[i * PANEL] = key[h * width + i];
        to = values + (long(h) * tokens + token) * value_row;
        std::copy_n(value + h * width, width, to);
        std::fill_n(to + width, value_row - width, 0.0f);
      }
    };
    const int own = tiles(x.pixels());
    team.run(own + tiles(template_tokens), [&](int index) {
      if (index < own) {
        project(x, index, query, [&](int token, const float* found) {
          std::copy_n(found, inner, queries + long(token) * inner);
        });
        project(x, index, key_value, [&](int token, const float* found) {
          keep(token, found, found + inner);
        });
      } else {
        int first = (index - own) * TILE, end = std::min(first + TILE, template_tokens);
        for (int token = first; token < end; ++token) {
          keep(x.pixels() + token, template_keys + long(token) * inner,
               template_values + long(token) * inner);
        }
      }
    });
    team.run(heads * own, [&](int index) {
      const int h = index / own, first = index % own * TILE;
      const int rows = std::min(TILE, x.pixels() - first);
      Workspace& mine = scratch();
      float *weights = mine.take(long(TILE) * row), *out = mine.take(TILE * value_row);
      const Linear scores{width, tokens, zeros, keys + long(h) * row * width};
      const Linear mix{tokens, width, zeros, values + long(h) * tokens * value_row};
      apply(scores, queries + long(first) * inner + h * width, inner, rows, weights);
      float sums[TILE];
      for (int r = 0; r < rows; ++r) {
        float *line = weights + long(r) * row, highest = line[0], sum = 0;
        for (int t = 0; t < tokens; ++t) highest = std::max(highest, line[t]);
        for (int t = 0; t < tokens; ++t) line[t] = exp_negative(line[t] - highest);
        for (int t = 0; t < tokens; ++t) sum += line[t];
        sums[r] = sum;
      }
      apply(mix, weights, row, rows, out);
      for (int r = 0; r < rows; ++r) {
        float* to = attended + long(first + r) * inner + h * width;
        for (int i = 0; i < width; ++i) to[i] = out[r * value_row + i] / sums[r];
      }
    });
    team.run(own, [&](int index) {
      const int first = index * TILE, rows = std::min(TILE, x.pixels() - first);
      const int stride = padded(C), wide = padded(fc1.columns);
      Workspace& mine = scratch();
      float *out = mine.take(TILE * stride), *normed = mine.take(TILE * C),
            *hidden = mine.take(long(TILE) * wide);
      auto add = [&](int r) {
        float* to = x.at(first + r);
        for (int c = 0; c < C; ++c) to[c] += out[r * stride + c];
      };
      apply(proj, attended + long(first) * inner, inner, rows, out);
      for (int r = 0; r < rows; ++r) {
        add(r);
        normalise(x.at(first + r), C, normed + r * C);
      }
      apply(fc1, normed, C, rows, hidden);
      for (long i = 0; i < long(rows) * wide; ++i) hidden[i] = gelu(hidden[i]);
      apply(fc2, hidden, wide, rows, out);
      for (int r = 0; r < rows; ++r) add(r);
    });
  }

  // A layer of a tile of normalised tokens; calls finish(token, values).
  template <class Finish>
  static void project(const Image& x, int index, const Linear& layer, const Finish& finish) {
    int first = index * TILE, rows = std::min(TILE, x.pixels() - first);
    long row = padded(layer.columns);
    Workspace& mine = scratch();
    float *normed = mine.take(TILE * x.channels), *found = mine.take(TILE * row);
    for (int r = 0; r < rows; ++r) normalise(x.at(first + r), x.channels, normed + r * x.channels);
    apply(layer, normed, x.channels, rows, found);
    for (int r = 0; r < rows; ++r) finish(first + r, found + r * row);
  }
};

struct Stage {
  std::vector<BasicBlock> blocks;
  TemplateModulation modulation;
  Perception perception;
  Attention attention;
  PatchEmbed downsample;
};

struct Network {
  PatchEmbed patch_embed;
  Stage stages[3];
  Linear neck;
  Convolution towers[2][5];

  void init_template(Team& team, Workspace& space, Image z, const Kernels kernels[2], float* keys,
                     float* values) const {
    z = patch_embed(team, space, z);
    for (int i = 0; i < 3; ++i) {
      const Stage& stage = stages[i];
      if (i) z = stages[i - 1].downsample(team, space, z);
      for (const BasicBlock& block : stage.blocks) block(team, space, z);
      if (i) stage.modulation.kernels(team, space, z, kernels[i - 1]);
      z = stage.perception(team, space, z);
    }
    stages[2].attention.keys_values(team, z, keys, values);
  }

  void score_maps(Team& team, Workspace& space, Image x, const Kernels kernels[2],
                  int template_tokens, const float* keys, const float* values, float* maps) const {
    x = patch_embed(team, space, x);
    for (int i = 0; i < 3; ++i) {
      const Stage& stage = stages[i];
      for (const BasicBlock& block : stage.blocks) block(team, space, x);
      if (i) stage.modulation.apply(team, space, x, kernels[i - 1]);
      x = stage.perception(team, space, x);
      if (i == 2) stage.attention(team, space, x, template_tokens, keys, values);
      x = stage.downsample(team, space, x);
    }
    const int count = tiles(x.pixels());
    auto convolve = [&](const Convolution& conv, const Image& from, const Image& to, int index,
                        bool rectify) {
      conv.tile(from, index, [&](int pixel, const float* values) {
        float* out = to.at(pixel);
        for (int c = 0; c < to.channels; ++c) out[c] = rectify ? relu(values[c]) : values[c];
      });
    };
    Image features{x.height, x.width, neck.columns, space.take(long(x.pixels()) * neck.columns)};
    team.run(count, [&](int index) {
      convolve(Convolution{1, 1, neck}, x, features, index, false);
    });
    Image from[2] = {features, features}, to[2];
    for (int i = 0; i < 5; ++i) {
      bool last = i == 4;
      for (int t = 0; t < 2; ++t) {
        int channels = towers[t][i].linear.columns;
        to[t] = {x.height, x.width, channels,
                 last ? maps + t * x.pixels() : space.take(long(x.pixels()) * channels)};
      }
      team.run(2 * count, [&](int index) {
        int t = index / count;
        convolve(towers[t][i], from[t], to[t], index % count, !last);
      });
      std::copy_n(to, 2, from);
    }
  }
};

// ---- Weights

class Reader {
 public:
  explicit Reader(const float* from) : next_(from) {}

  const float* take(long count) {
    const float* found = next_;
    next_ += (count + 15) / 16 * 16;  // each array starts at a multiple of 64 bytes
    return found;
  }
  const float* vector(int channels) { return take(padded(channels)); }
  Linear linear(int depth, int columns) {
    const float* bias = vector(columns);
    return {depth, columns, bias, take(long(depth) * padded(columns))};
  }
  Convolution convolution(int side, int stride, int in_channels, int out_channels) {
    return {side, stride, linear(side * side * in_channels, out_channels)};
  }
  Norm norm(int channels) {
    const float* scale = vector(channels);
    return {scale, vector(channels)};
  }
  PatchEmbed patch_embed(int side, int stride, int in_channels, int out_channels) {
    Convolution conv = convolution(side, stride, in_channels, out_channels);
    return {conv, norm(out_channels)};
  }
  const float* end() const { return next_; }

 private:
  const float* next_;
};

struct Sizes {
  int64_t widths[3], depths[3], num_kernels[2], num_heads, head_dim, feature_dim;
};

BasicBlock read_block(Reader& reader, int C, int expansion) {
  BasicBlock block;
  block.expansion = expansion;
  block.context_in = reader.linear(C, C);
  block.kernel = reader.take(CONTEXT * CONTEXT * padded(C));
  block.bias = reader.vector(C);
  block.context_out = reader.linear(padded(C), C);
  block.fc1 = reader.linear(C, expansion * C);
  block.fc2 = reader.linear(padded(expansion * C), C);
  return block;
}

Network read_network(Reader& reader, const Sizes& sizes) {
  Network network;
  network.patch_embed = reader.patch_embed(7, 4, 3, sizes.widths[0]);
  for (int i = 0; i < 3; ++i) {
    Stage& stage = network.stages[i];
    const int C = sizes.widths[i];
    for (int j = 0; j < sizes.depths[i]; ++j) {
      stage.blocks.push_back(read_block(reader, C, j % 2 ? 6 : 1));
    }
    if (i) {
      const int N = sizes.num_kernels[i - 1];
      TemplateModulation& modulation = stage.modulation;
      modulation.template_assignment = reader.linear(C, N);
      modulation.search_assignment = reader.linear(C, N);
      modulation.kernel_weights = reader.linear(C, N + 3);
      modulation.prototype_norm = reader.norm(C);
      modulation.gate = reader.linear(C, 1);
      modulation.norm = reader.norm(C);
    }
    stage.perception.conv = reader.convolution(3, 1, C, C);
    stage.perception.norm = reader.norm(C);
    stage.perception.scale = reader.vector(C);
    if (i == 2) {
      const int inner = sizes.num_heads * sizes.head_dim;
      Attention& attention = stage.attention;
      attention.heads = sizes.num_heads;
      attention.width = sizes.head_dim;
      attention.query = reader.linear(C, inner);
      attention.key_value = reader.linear(C, 2 * inner);
      attention.proj = reader.linear(inner, C);
      attention.fc1 = reader.linear(C, 4 * C);
      attention.fc2 = reader.linear(padded(4 * C), C);
    }
    stage.downsample = reader.patch_embed(3, 2, C, i == 2 ? sizes.feature_dim : sizes.widths[i + 1]);
  }
  const int D = sizes.feature_dim;
  network.neck = reader.linear(D, D);
  for (Convolution* tower : network.towers) {
    const int channels[] = {D, D, D / 2, D / 4, D / 8};
    for (int i = 0; i < 4; ++i) tower[i] = reader.convolution(3, 1, channels[i], channels[i + 1]);
    tower[4] = reader.convolution(1, 1, D / 8, 1);
  }
  return network;
}

// ---- What XLA calls

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Calls run(network, team, workspace, b) for each image of a batch.
template <class Run>
ffi::Error each_image(ffi::ThreadPool pool, ffi::Span<const int64_t> sizes, const Array& weights,
                      int64_t batch, const Run& run) {
  if (sizes.size() * sizeof(int64_t) != sizeof(Sizes)) {
    return ffi::Error::InvalidArgument("sizes must be as many as the network has");
  }
  Reader reader(weights.typed_data());
  Network network = read_network(reader, *reinterpret_cast<const Sizes*>(sizes.begin()));
  if (reader.end() != weights.typed_data() + weights.element_count()) {
    return ffi::Error::InvalidArgument("the weights are those of another network");
  }
  static thread_local Workspace space;
  Team team(pool);
  for (int64_t b = 0; b < batch; ++b) {
    space.reset();
    run(network, team, space, b);
  }
  return ffi::Error::Success();
}

template <class Buffer>
float* part(Buffer& buffer, int64_t b) {  // the b-th of a batch
  return buffer.typed_data() + b * (buffer.element_count() / buffer.dimensions()[0]);
}

Image image(const Array& images, int64_t b) {
  auto shape = images.dimensions();
  return {int(shape[1]), int(shape[2]), int(shape[3]), part(images, b)};
}

ffi::Error init_template(ffi::ThreadPool pool, ffi::Span<const int64_t> sizes, Array weights,
                         Array templates, Result depthwise2, Result pointwise2, Result depthwise3,
                         Result pointwise3, Result keys, Result values) {
  return each_image(pool, sizes, weights, templates.dimensions()[0],
                    [&](const Network& network, Team& team, Workspace& space, int64_t b) {
                      Kernels kernels[] = {{part(*depthwise2, b), part(*pointwise2, b)},
                                           {part(*depthwise3, b), part(*pointwise3, b)}};
                      network.init_template(team, space, image(templates, b), kernels,
                                            part(*keys, b), part(*values, b));
                    });
}

ffi::Error score_maps(ffi::ThreadPool pool, ffi::Span<const int64_t> sizes, Array weights,
                      Array searches, Array depthwise2, Array pointwise2, Array depthwise3,
                      Array pointwise3, Array keys, Array values, Result maps) {
  return each_image(pool, sizes, weights, searches.dimensions()[0],
                    [&](const Network& network, Team& team, Workspace& space, int64_t b) {
                      Kernels kernels[] = {{part(depthwise2, b), part(pointwise2, b)},
                                           {part(depthwise3, b), part(pointwise3, b)}};
                      network.score_maps(team, space, image(searches, b), kernels,
                                         keys.dimensions()[1], part(keys, b), part(values, b),
                                         part(*maps, b));
                    });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(asymtrack_init_template, init_template,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<ffi::Span<const int64_t>>("sizes")
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(asymtrack_score_maps, score_maps,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<ffi::Span<const int64_t>>("sizes")
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>());
