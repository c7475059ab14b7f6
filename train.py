"""Trains AsymTrack as a configuration file says, on every device there is.

python train.py --config configs/tiny.py --config.data.roots.lasot=/data/LaSOT

Every field of the configuration can be changed so, by its name. The same command goes on with a run
that was stopped. On several hosts, run it on each.
"""

from collections.abc import Sequence

from asymtrack_jax.compilation import keep_compiled
from asymtrack_jax.errors import run_main
from asymtrack_jax.training import devices, options
from asymtrack_jax.training.loop import train_and_evaluate


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains as the command line says; returns the exit status."""
    chosen = options.parse(arguments, __doc__)
    devices.initialize_distributed(chosen.coordinator, chosen.num_processes, chosen.process_id)
    return train_and_evaluate(chosen.config, chosen.workdir)


if __name__ == "__main__":
    keep_compiled()
    run_main(main)
