"""The command line of `train.py`: a configuration file, and changes to its fields by name."""

import argparse
import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import tyro

from asymtrack_jax.config import Config
from asymtrack_jax.errors import InputError


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


def load_config(path: Path) -> Config:
    """What a configuration file's `get_config()` returns. The file is Python, and is run.

    Raises:
        InputError: there is no such file, or it has no such function.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(
            f"--config: there is no configuration file {path}, such as configs/tiny.py"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config() if hasattr(module, "get_config") else None
    if not isinstance(config, Config):
        raise InputError(f"--config: {path} must define get_config(), which returns a Config")
    return config
