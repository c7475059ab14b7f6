"""Dispatches `asymtrack COMMAND` to the command's module, which is imported only then."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import asymtrack_jax
from asymtrack_jax.errors import InputError, run_main

COMMANDS = {
    "track": "track targets in a video, a folder of images or a camera stream",
    "demo": "track in the browser: click boxes on a video, a webcam's clip or a rendered one",
    "evaluate": "run a tracker over a benchmark, or score results that exist",
    "train": "train a network from a configuration",
    "convert": "import published PyTorch checkpoints, or export to their format",
    "calibrate": "calibrate a checkpoint's scores to the expected overlap (IoU)",
    "export": "write a checkpoint as ONNX or StableHLO programs",
    "prepare": "prepare a dataset for fast training",
    "render": "render synthetic sequences with exact ground truth",
    "benchmark": "measure latency and throughput, compared with other runtimes",
    "native": "build the optional kernels for this machine's CPU",
    "vot": "serve the VOT toolkit over TraX",
}

EXTRAS = {  # module name -> the extra of this package that installs it
    "flatbuffers": "stablehlo",
    "gradio": "demo",
    "grain": "train",
    "matplotlib": "eval",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "tensorboardX": "train",
    "tensorflow_datasets": "train",
    "torch": "compare",
    "trax": "vot",
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Runs one command; returns its exit status.

    Args:
        arguments: the command's name and its arguments; by default the process's own.

    Raises:
        InputError: there is no such command, its input is bad, or it needs an extra of this
            package that is not installed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"asymtrack {asymtrack_jax.__version__}")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(COMMANDS)}"
        raise InputError(f"no command {name[:40]!r}: {hint}")
    try:
        return importlib.import_module(f"asymtrack_jax.cli.{name}").main(rest)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        extra = EXTRAS[missing]
        raise InputError(
            f"asymtrack {name} needs {missing}, which the extra [{extra}] of this package "
            f"installs; in a checkout: pip install -e '.[{extra}]'"
        ) from error


def script(command: str | None = None) -> None:
    """Runs the console command, or the given command for a script of the checkout, and exits.

    Configurations and trackers may be modules of the current folder, as with `python -m`.
    """
    sys.path.append("")
    prefix = [] if command is None else [command]
    run_main(lambda: main([*prefix, *sys.argv[1:]]))


def _usage() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items())
    return (
        "usage: asymtrack COMMAND [OPTIONS]\n\n"
        "AsymTrack in JAX: efficient single-object visual tracking.\n\n"
        f"commands:\n{commands}\n\n"
        "asymtrack COMMAND --help explains a command's options; asymtrack --version prints the "
        "version."
    )
