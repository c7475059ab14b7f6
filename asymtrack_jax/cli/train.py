"""Trains a network as a configuration says, on every device there is.

  $ asymtrack train --config tiny --config.data.roots.lasot=/data/LaSOT

--config names a packaged configuration or a Python file; every field can be changed by its name.
The same command resumes a run that was stopped. On several hosts, run it on each.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from asymtrack_jax.compilation import enable_compilation_cache
from asymtrack_jax.config import Config
from asymtrack_jax.configs.loading import load_config
from asymtrack_jax.training import devices
from asymtrack_jax.training.loop import train_and_evaluate


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What to train.

    Attributes:
        config: the configuration file's, with what `--config.section.field=value` changed.
        workdir: folder for all that the run writes; a run that finds its own checkpoints there
            goes on from the last one.
        coordinator: host:port of process 0, for a run over several hosts. Clusters that jax knows,
            such as Slurm's and TPU pods, need none of these three.
        num_processes: how many hosts.
        process_id: this host's number, from 0.
    """

    config: Config
    workdir: Path
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def parse(
    arguments: Sequence[str], command: str = "asymtrack train", description: str | None = __doc__
) -> TrainOptions:
    """Parses a command line over the defaults of its configuration; exits if it does not fit.

    Raises:
        InputError: the configuration cannot be used.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default="synthetic")
    known, rest = parser.parse_known_args(arguments)
    default = TrainOptions(load_config(known.config), Path("runs") / Path(known.config).stem)
    return tyro.cli(
        TrainOptions,
        args=rest,
        prog=command,
        default=default,
        description=description,
        config=(tyro.conf.FlagConversionOff,),  # --flag=True, as any other field
    )


def main(arguments: Sequence[str]) -> int:
    """Trains; returns the exit status."""
    options = parse(arguments)
    enable_compilation_cache()
    devices.initialize_distributed(options.coordinator, options.num_processes, options.process_id)
    return train_and_evaluate(options.config, options.workdir)
