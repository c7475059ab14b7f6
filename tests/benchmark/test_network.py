from pathlib import Path

import numpy as np

from asymtrack_jax.benchmark import network
from asymtrack_jax.benchmark.case import BenchmarkCase
from asymtrack_jax.config import VARIANTS


def test_all_backends_get_one_network_and_the_same_images(tmp_path):
    loaded = network.load_network(Path("testing"))
    network.write(loaded, tmp_path, [1, 2])
    read = network.load_network(tmp_path / "checkpoint")
    assert read.config == VARIANTS["testing"]
    np.testing.assert_equal(read.variables, loaded.variables)
    assert (tmp_path / "onnx/step.onnx").is_file()
    case = BenchmarkCase.from_json(BenchmarkCase(tmp_path, 2, "default").to_json())
    template, search = case.images()
    assert template.shape == (2, 64, 64, 3)
    assert search.shape == (2, 128, 128, 3)
    assert len(np.unique(search)) == 256
