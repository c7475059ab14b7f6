// The network's layers. Each processes one image; a team's threads share its tasks.

#pragma once

#include "linear.h"

namespace {

constexpr int CONTEXT = 7;  // kernel size of the depthwise convolutions

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

  // Applies the block in place.
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
    constexpr int MANY = LANES == 16 ? 8 : 4;  // pixels whose accumulators fit in the registers
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

  // Filters N neighbouring pixels.
  template <int N>
  void filter(const float* from, int width, int channels, float* out) const {
    for (int c = 0; c < channels; c += LANES) {
      Vector sum[N];
      for (int n = 0; n < N; ++n) sum[n] = load(bias + c);
      for (int i = 0; i < CONTEXT; ++i) {
        const float* line = from + long(i) * width * channels + c;
        Vector taps[CONTEXT];
        for (int j = 0; j < CONTEXT; ++j) taps[j] = load(kernel + (i * CONTEXT + j) * channels + c);
#pragma GCC unroll 16
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

struct Kernels {  // dynamic kernels of a template: [N, 3], [N, N]
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

  // Modulates the search features in place.
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

  // Returns the sum of pixels weighted by their assignment to each prototype, [N, C]; stores the
  // assignment, [pixels, N].
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
    for (int i = 1; i < count; ++i) {  // in an order that does not depend on the threads
      for (int j = 0; j < N * C; ++j) parts[j] += parts[long(i) * N * C + j];
    }
    return parts;
  }
};

struct Perception {
  Winograd conv;
  Norm norm;
  const float* scale;

  Image operator()(Team& team, Workspace& space, const Image& x) const {
    Image out{x.height, x.width, x.channels, space.take(long(x.pixels()) * x.channels)};
    team.run(conv.tasks(x), [&](int index) {
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
  int heads, width;  // number of heads, channels per head
  Linear query, key_value, proj, fc1, fc2;  // the query's weights include the attention's scale

  // Computes keys and values of a template's tokens, [tokens, heads, width] each.
  void keys_values(Team& team, const Image& z, float* keys, float* values) const {
    const int inner = heads * width;
    team.run(tiles(z.pixels()), [&](int index) {
      project(z, index, key_value, [&](int token, const float* found) {
        std::copy_n(found, inner, keys + long(token) * inner);
        std::copy_n(found + inner, inner, values + long(token) * inner);
      });
    });
  }

  // Applies the block in place.
  void operator()(Team& team, Workspace& space, const Image& x, int template_tokens,
                  const float* template_keys, const float* template_values) const {
    const int C = x.channels, tokens = x.pixels() + template_tokens, inner = heads * width;
    const int row = padded(tokens), value_row = padded(width);
    // Keys and values have the layout of linear layers' weights, one layer per head.
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

  // Applies a layer to a tile of normalised tokens; calls finish(token, values) per token.
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

}  // namespace
