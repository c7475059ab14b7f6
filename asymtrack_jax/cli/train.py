"""Trains a network from a configuration, on all devices.

  $ asymtrack train --config tiny --config.data.roots.lasot=/data/LaSOT
  $ asymtrack train --config finetune --config.data.roots.folder=/data/mine

--config is a packaged configuration or a Python file; options override its fields by name.
The same command resumes a run that was stopped. On several hosts, run it on each.

Names for data.sources, data.validation and data.tracking, read below data.roots:

- folder: videos of your own, <sequence>/img/*.jpg and groundtruth.txt; folder_val is every fifth of
  them and folder_train the others
- tracks: cropped videos, <root>/tracks; stills: photographs with boxes, <root>/stills
- lasot, trackingnet, coco, got10k_train, got10k_val: training sets; got10k_vot_train and
  got10k_vot_val: parts of GOT-10k without videos of VOT
- prepared/NAME: a folder that asymtrack prepare wrote
- synthetic: rendered video, other clips for validation
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
    """Options of `asymtrack train`.

    Attributes:
        config: configuration of the run; `--config.section.field=value` overrides a field.
        workdir: output folder of the run; a run is resumed from its last checkpoint there.
        coordinator: host:port of process 0, for a run over several hosts. Clusters that JAX
            detects, such as Slurm and TPU pods, need none of these three options.
        num_processes: number of processes, one per host.
        process_id: index of this process, from 0.
    """

    config: Config
    workdir: Path
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def parse(
    arguments: Sequence[str], command: str = "asymtrack train", description: str | None = __doc__
) -> TrainOptions:
    """Parses a command line over the defaults of its configuration; exits if it is not valid.

    Raises:
        InputError: the configuration is not valid.
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
    """Trains the network; returns the exit status."""
    options = parse(arguments)
    enable_compilation_cache()
    devices.initialize_distributed(options.coordinator, options.num_processes, options.process_id)
    devices.prepare_cpu(options.config.train)
    return train_and_evaluate(options.config, options.workdir)
