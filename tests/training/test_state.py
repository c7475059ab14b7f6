import jax
import numpy as np

from asymtrack_jax.training.state import with_layer_scale


def test_layer_scales_and_nothing_else_get_the_value(variables: dict):
    before, _ = jax.tree.flatten_with_path(variables["params"])
    after = jax.tree.leaves(with_layer_scale(variables["params"], 0.3))
    changed = set()
    for (path, old), new in zip(before, after, strict=True):
        if not np.array_equal(old, new):
            assert (np.asarray(new) == np.float32(0.3)).all()
            changed.add("/".join(key.key for key in path[1:]))
    blocks = {"stage1": 1, "stage2": 2, "stage3": 2}
    assert changed == {
        *(f"{stage}/blocks_{i}/gamma" for stage, count in blocks.items() for i in range(count)),
        *(f"{stage}/perception/scale" for stage in blocks),
        *(f"{stage}/modulation/norm/scale" for stage in ("stage2", "stage3")),
    }
