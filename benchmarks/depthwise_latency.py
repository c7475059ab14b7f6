"""Times `step` on a CPU with both implementations of depthwise convolution.

`python -m benchmarks.depthwise_latency` prints the median latencies of the three variants. The two
alternate in one process, so that other load affects both equally.
"""

import os
import platform
import time
from unittest import mock

import jax
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models import layers
from asymtrack_jax.models.asymtrack import init_variables
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.model import Model

ROUNDS = 50
FORMS = {"shifted": layers.depthwise_conv_shifted, "grouped": layers.depthwise_conv_grouped}


def compiled_step(form: str, variant: str):
    """Compiles `step` on one search crop with one implementation of depthwise convolution."""
    config = VARIANTS[variant]
    template, search = (
        np.zeros((1, side, side, 3), np.uint8)
        for side in (config.template_size, config.search_size)
    )
    with mock.patch.object(layers, "depthwise_conv", FORMS[form]):
        model = Model(config, fuse(init_variables(config, 0)))
        modulation = model.init_template(template)
        jax.block_until_ready(model.step(modulation, search))
    return lambda: jax.block_until_ready(model.step(modulation, search))


def main() -> None:
    """Alternates between the implementations and prints medians."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"jax {jax.__version__}, float32, batch 1, {ROUNDS} rounds"
    )
    for variant in ("tiny", "small", "base"):
        steps = {form: compiled_step(form, variant) for form in FORMS}
        seconds = {form: [] for form in FORMS}
        for _ in range(ROUNDS):
            for form, step in steps.items():
                start = time.perf_counter()
                step()
                seconds[form].append(time.perf_counter() - start)
        shifted, grouped = (1e3 * np.median(seconds[form]) for form in ("shifted", "grouped"))
        print(
            f"{variant}: median {shifted:.1f} ms shifted, {grouped:.1f} ms grouped, "
            f"{grouped / shifted:.2f} times faster"
        )


if __name__ == "__main__":
    main()
