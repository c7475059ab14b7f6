"""The fused network in PyTorch, for comparison. Only a contestant's own process imports this file.

torch is no dependency of this package: it is imported by name, and this file with it by nobody who
does not ask for the comparison.
"""

import importlib
from typing import Any

import numpy as np

torch: Any = importlib.import_module("torch")
F: Any = torch.nn.functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # `tracking.crop`'s, which needs jaxtyping


class Network(torch.nn.Module):
    """The fused form for tracking. Features are NHWC, which convolutions see as channels-last."""

    def __init__(self, weights: dict[str, np.ndarray], num_heads: int):
        """Takes the fused form's variables by path, such as `params/neck/kernel`."""
        super().__init__()
        self.num_heads = num_heads
        self.register_buffer("mean", 255 * torch.tensor(MEAN))
        for path, array in weights.items():
            tensor = torch.from_numpy(array)
            if path.endswith("patch_embed/conv/kernel"):  # pixels come centred but not scaled
                tensor = tensor / (255 * torch.tensor(STD)[:, None])
            if path.endswith("kernel") and tensor.ndim == 2:
                tensor = tensor.T.contiguous()
            if tensor.ndim == 4:  # HWIO to OIHW
                tensor = tensor.permute(3, 2, 0, 1)
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            self.register_buffer(path.removeprefix("params/").replace("/", "__"), tensor)

    def forward(self, image: Any, modulation: Any = None) -> Any:
        """`init_template` of an image alone, `step` of one and a modulation; images are uint8."""
        return self.init_template(image) if modulation is None else self.step(image, modulation)

    def init_template(self, z: Any) -> tuple:
        """Six tensors, in the order of `Modulation`'s leaves."""
        z = self._patch_embed(z - self.mean, "backbone/patch_embed", 4)
        z = self._perception(self._blocks(z, "backbone/stage1"), "backbone/stage1/perception")
        z = self._blocks(self._downsample(z, "backbone/stage1"), "backbone/stage2")
        stage2 = self._kernels(z, "backbone/stage2/modulation")
        z = self._downsample(self._perception(z, "backbone/stage2/perception"), "backbone/stage2")
        z = self._blocks(z, "backbone/stage3")
        stage3 = self._kernels(z, "backbone/stage3/modulation")
        tokens = self._perception(z, "backbone/stage3/perception").flatten(1, 2)
        normed, name = _plain_norm(tokens), "backbone/stage3/attention"
        keys_values = (self._heads(self._linear(normed, f"{name}/{k}")) for k in ("key", "value"))
        return (*stage2, *stage3, *keys_values)

    def step(self, x: Any, modulation: tuple) -> tuple:
        """Boxes [B, 4] and scores [B]."""
        x = self._patch_embed(x - self.mean, "backbone/patch_embed", 4)
        x = self._perception(self._blocks(x, "backbone/stage1"), "backbone/stage1/perception")
        x = self._blocks(self._downsample(x, "backbone/stage1"), "backbone/stage2")
        x = self._modulate(x, modulation[0], modulation[1], "backbone/stage2/modulation")
        x = self._downsample(self._perception(x, "backbone/stage2/perception"), "backbone/stage2")
        x = self._blocks(x, "backbone/stage3")
        x = self._modulate(x, modulation[2], modulation[3], "backbone/stage3/modulation")
        x = self._perception(x, "backbone/stage3/perception")
        x = self._attention(x, modulation[4], modulation[5], "backbone/stage3/attention")
        x = self._linear(self._downsample(x, "backbone/stage3"), "neck")
        maps = [self._tower(x, f"head/{corner}") for corner in ("top_left", "bottom_right")]
        return _decode(torch.stack(maps, 1).float())

    def _weight(self, path: str) -> Any:
        return self._buffers.get(path.replace("/", "__"))

    def _linear(self, x: Any, name: str) -> Any:
        return F.linear(x, self._weight(f"{name}/kernel"), self._weight(f"{name}/bias"))

    def _conv(self, x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        kernel, bias = self._weight(f"{name}/kernel"), self._weight(f"{name}/bias")
        pad = kernel.shape[-1] // 2
        x = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, stride, pad, groups=groups)
        return x.permute(0, 2, 3, 1)

    def _norm(self, x: Any, name: str) -> Any:
        scale, bias = self._weight(f"{name}/scale"), self._weight(f"{name}/bias")
        return F.layer_norm(x, x.shape[-1:], scale, bias, 1e-5)

    def _patch_embed(self, x: Any, name: str, stride: int) -> Any:
        return self._norm(self._conv(x, f"{name}/conv", stride), f"{name}/norm")

    def _downsample(self, x: Any, stage: str) -> Any:
        return self._patch_embed(x, f"{stage}/downsample", 2)

    def _blocks(self, x: Any, stage: str) -> Any:
        index = 0
        while self._weight(f"{stage}/blocks_{index}/fc1/kernel") is not None:
            x = self._block(x, f"{stage}/blocks_{index}")
            index += 1
        return x

    def _block(self, x: Any, name: str) -> Any:
        C = x.shape[-1]
        normed = _plain_norm(x)
        context = self._linear(normed, f"{name}/context_in")
        context = F.gelu(self._conv(context, f"{name}/context_conv", groups=C))
        context = self._linear(context, f"{name}/context_out")
        hidden = self._linear(normed, f"{name}/fc1")
        expansion = hidden.shape[-1] // C
        if expansion > 1:
            hidden = F.gelu(hidden)
        hidden = hidden.unflatten(-1, (expansion, C)) * context[..., None, :]
        return x + self._linear(hidden.flatten(-2), f"{name}/fc2")

    def _perception(self, x: Any, name: str) -> Any:
        enhanced = F.relu(self._norm(self._conv(x, name), f"{name}/norm"))
        return x + self._weight(f"{name}/scale") * enhanced

    def _kernels(self, z: Any, name: str) -> tuple:
        gathered = _gather(self._linear(z, f"{name}/template_assignment"), z)
        weights = self._linear(gathered, f"{name}/kernel_weights")
        return weights[..., :3], weights[..., 3:]

    def _modulate(self, x: Any, depthwise: Any, pointwise: Any, name: str) -> Any:
        assignment = self._linear(x, f"{name}/search_assignment")
        prototypes, C = F.pad(_gather(assignment, x), (1, 1)), x.shape[-1]
        taps = [depthwise[..., i, None] * prototypes[..., i : i + C] for i in range(3)]
        prototypes = pointwise @ F.relu(taps[0] + taps[1] + taps[2])
        prototypes = self._norm(prototypes, f"{name}/prototype_norm")
        gate = self._linear(prototypes, f"{name}/gate").mT @ prototypes
        spread = assignment.flatten(1, 2) @ prototypes * torch.sigmoid(gate)
        return x + F.relu(self._norm(spread, f"{name}/norm")).view(x.shape)

    def _attention(self, x: Any, keys: Any, values: Any, name: str) -> Any:
        tokens = x.flatten(1, 2)
        normed = _plain_norm(tokens)
        queries = self._heads(self._linear(normed, f"{name}/query"))
        keys = torch.cat([self._heads(self._linear(normed, f"{name}/key")), keys], 2)
        values = torch.cat([self._heads(self._linear(normed, f"{name}/value")), values], 2)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens + self._linear(attended.transpose(1, 2).flatten(2), f"{name}/proj")
        hidden = F.gelu(self._linear(_plain_norm(tokens), f"{name}/fc1"))
        return (tokens + self._linear(hidden, f"{name}/fc2")).view(x.shape)

    def _heads(self, x: Any) -> Any:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _tower(self, x: Any, name: str) -> Any:
        for i in range(1, 5):
            x = F.relu(self._conv(x, f"{name}/conv{i}"))
        return self._conv(x, f"{name}/score")[..., 0]


def _plain_norm(x: Any) -> Any:
    return F.layer_norm(x, x.shape[-1:], eps=1e-5)


def _gather(assignment: Any, features: Any) -> Any:
    return assignment.flatten(1, 2).mT @ features.flatten(1, 2)


def _decode(maps: Any) -> tuple:
    B, _, S, _ = maps.shape
    probabilities = maps.flatten(2).softmax(-1).view(B, 2, S, S)
    positions = torch.arange(S, device=maps.device) / S
    x = (probabilities.sum(2) * positions).sum(-1)
    y = (probabilities.sum(3) * positions).sum(-1)
    low, high = torch.stack([x, y], -1).unbind(1)
    windows = 4 * F.avg_pool2d(F.pad(probabilities, (0, 1, 0, 1)), 2, 1)  # of two by two cells
    scores = windows.flatten(2).amax(-1).prod(-1).sqrt()
    return torch.cat([(low + high) / 2, high - low], -1), scores
