"""The command line of `train.py`: a configuration file, and changes to its fields by name."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from asymtrack_jax.config import Config
from asymtrack_jax.config_files import load_config


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run is told.

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


def parse(arguments: Sequence[str] | None, description: str | None) -> Options:
    """Reads a command line; of what it cannot use it says what, and exits.

    Raises:
        InputError: the configuration file cannot be used.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=Path("configs/synthetic.py"))
    known, rest = parser.parse_known_args(arguments)
    default = Options(load_config(known.config), Path("runs") / known.config.stem)
    conf = (tyro.conf.FlagConversionOff,)  # --flag=True, as any other field
    return tyro.cli(Options, args=rest, default=default, description=description, config=conf)
