// The fused network for CPUs, as two functions for XLA's FFI: float32, any batch size.
//
// Features of an image are stored as one row of channels per pixel. Work is divided into tasks of a
// few pixels, whose intermediate results stay in the L1 and L2 caches. Weights are one array,
// packed by `weights.py` in the order in which `read_network` reads them.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "layers.h"

namespace {

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
  Winograd towers[2][4];
  Linear scores[2];

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
    Image features{x.height, x.width, neck.columns, space.take(long(x.pixels()) * neck.columns)};
    team.run(count, [&](int index) {
      Convolution{1, 1, neck}.tile(x, index, [&](int pixel, const float* values) {
        std::copy_n(values, neck.columns, features.at(pixel));
      });
    });
    Image from[2] = {features, features}, to[2];
    for (int i = 0; i < 4; ++i) {
      for (int t = 0; t < 2; ++t) {
        int channels = towers[t][i].out_channels;
        to[t] = {x.height, x.width, channels, space.take(long(x.pixels()) * channels)};
      }
      const int groups = Winograd::tasks(x);
      team.run(2 * groups, [&](int index) {
        const Image& out = to[index / groups];
        towers[index / groups][i].tile(from[index / groups], index % groups,
                                       [&](int pixel, const float* values) {
          float* line = out.at(pixel);
          for (int c = 0; c < out.channels; ++c) line[c] = relu(values[c]);
        });
      });
      std::copy_n(to, 2, from);
    }
    team.run(2 * count, [&](int index) {
      int t = index / count;
      Convolution{1, 1, scores[t]}.tile(from[t], index % count, [&](int pixel, const float* value) {
        maps[t * x.pixels() + pixel] = *value;
      });
    });
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
  Winograd winograd(int in_channels, int out_channels) {
    const float* bias = vector(out_channels);
    return {in_channels, out_channels, bias, take(16L * in_channels * padded(out_channels))};
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
    stage.perception.conv = reader.winograd(C, C);
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
    const int next = i == 2 ? sizes.feature_dim : sizes.widths[i + 1];
    stage.downsample = reader.patch_embed(3, 2, C, next);
  }
  const int D = sizes.feature_dim;
  network.neck = reader.linear(D, D);
  for (int t = 0; t < 2; ++t) {
    const int channels[] = {D, D, D / 2, D / 4, D / 8};
    for (int i = 0; i < 4; ++i) {
      network.towers[t][i] = reader.winograd(channels[i], channels[i + 1]);
    }
    network.scores[t] = reader.linear(D / 8, 1);
  }
  return network;
}

// ---- FFI handlers

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Calls run(network, team, workspace, b) for each image of a batch.
template <class Run>
ffi::Error each_image(ffi::ThreadPool pool, ffi::Span<const int64_t> sizes, const Array& weights,
                      int64_t batch, const Run& run) {
  if (sizes.size() * sizeof(int64_t) != sizeof(Sizes)) {
    return ffi::Error::InvalidArgument("wrong number of sizes");
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
float* part(Buffer& buffer, int64_t b) {  // item b of a batch
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
