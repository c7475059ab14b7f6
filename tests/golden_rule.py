"""Deterministic tensors by name, which the golden numbers were computed from."""

import zlib

import numpy as np


def generator(name: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=(seed << 32) | zlib.crc32(name.encode())))


def tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A parameter or a statistic of the published network, in PyTorch's layout."""
    g = generator(name, seed)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return (0.5 + g.random(shape)).astype(np.float32)
    n = g.standard_normal(shape).astype(np.float32)
    if name.endswith("running_mean"):
        return (0.1 * n).astype(np.float32)
    if name.endswith(("gamma_1", "ibe_scale")):
        return (0.5 * n).astype(np.float32)
    if name.endswith("theta"):
        return n
    if name.endswith("bias"):
        return (0.1 * n).astype(np.float32)
    if len(shape) == 1:  # norm scales
        return (1.0 + 0.1 * n).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    gain = 5.0 if ".conv5_" in name else 1.0
    return (gain * np.sqrt(2.0 / fan_in) * n).astype(np.float32)
