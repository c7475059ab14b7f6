"""Times the tracker on this machine, beside other runtimes of the same network if asked to.

python benchmark.py --config configs/tiny.py --batch-sizes 1,8
python benchmark.py --compare onnxruntime,torch,torch.compile --compare-python PATH

Measures init_template, step (the network alone), tracking (crops on the host, step, boxes back in
the frame) and, if asked to, video (many frames of as many videos in one program on the device) in
rounds in which everybody takes turns; compiling and start-up apart. The output folder gets
benchmark.json and benchmark.png. A quiet machine tells most; docs/gpu.md says what to run on a GPU.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from asymtrack_jax.benchmark.cell import FUNCTIONS
from asymtrack_jax.benchmark.command import RIVALS, Options, benchmark
from asymtrack_jax.config import PRECISIONS
from asymtrack_jax.errors import run_main


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Options()

    def add(name: str, help: str, **settings) -> None:
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", help=help, default=value, **settings)

    def commas(kind: Callable) -> Callable:
        return lambda text: [kind(part) for part in text.split(",")]

    configs = "configuration files; default: configs/tiny.py"
    add("config", configs, type=Path, nargs="+", metavar="FILE")
    add("batch-sizes", "such as 1,8,64; default: 1", type=commas(int), metavar="B,B")
    add(
        "precision",
        f"some of {','.join(PRECISIONS)}; default: default",
        type=commas(str),
        metavar="NAME,NAME",
    )
    add(
        "functions",
        f"some of {','.join(FUNCTIONS)}; default: all but video",
        type=commas(str),
        metavar="NAME,NAME",
    )
    add("rounds", "turns that everybody has; default: %(default)s", type=int)
    add(
        "compare",
        f"some of {','.join(RIVALS)}; default: none",
        type=commas(str),
        metavar="NAME,NAME",
    )
    python = "an interpreter that has them, with numpy and safetensors; default: this one"
    add("compare-python", python, metavar="PATH")
    add("output", "default: %(default)s", type=Path)
    benchmark(Options(**vars(parser.parse_args(arguments))))
    return 0


if __name__ == "__main__":
    run_main(main)
