"""Starts backends in their own processes, and communicates with them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from asymtrack_jax.benchmark.case import OURS, BenchmarkCase

ROOT = Path(__file__).parents[2]


class BackendError(Exception):
    """A backend cannot run; the message says why."""


class BackendProcess:
    """A backend in another process, ready to run.

    Attributes:
        functions: names of the functions.
        outputs: see `case.Backend`.
        facts: see `case.Backend`.
        measured: see `case.Backend`.
    """

    def __init__(self, process: subprocess.Popen, log: IO[str]):
        self._process, self._log = process, log
        ready = self._answer()
        if "error" in ready:
            raise BackendError(ready["error"])
        self.functions: list[str] = ready["functions"]
        self.outputs = {name: np.array(values) for name, values in ready["outputs"].items()}
        self.facts: dict[str, Any] = ready["facts"]
        self.measured: dict[str, dict[str, float]] = ready["measured"]

    def time(self, function: str) -> list[float]:
        """Calls a function a few times (`timing.time_calls`); returns the seconds of each call.

        Raises:
            BackendError: the process ended.
        """
        with suppress(BrokenPipeError):  # then there is no answer either
            print(function, file=self._process.stdin, flush=True)
        return self._answer()

    def finish(self) -> dict[str, Any]:
        """Ends the process; returns its peak memory, `peak_bytes` and `device_bytes`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            lines = self._log.read().strip().splitlines()
            raise BackendError(f"its process ended: {lines[-1] if lines else 'it printed nothing'}")
        return json.loads(line)


@contextmanager
def start(name: str, case: BenchmarkCase, python: str, cache: Path) -> Iterator[BackendProcess]:
    """Starts a backend and waits until it is ready; its process ends with the context.

    Args:
        name: `OURS` or one of `BASELINES`.
        case: the case to run.
        python: Python interpreter of the baselines other than `xla`.
        cache: folder of the compilation caches.

    Yields:
        The backend.

    Raises:
        BackendError: the backend cannot run.
    """
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache / name),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / name),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU's memory
    }
    if name == "onnxruntime" and case.precision == "bfloat16":
        raise BackendError("its files are in float32")
    if name == "xla":
        settings["ASYMTRACK_NATIVE"] = "0"
    elif name != OURS and not (case.network / "onnx").is_dir():
        raise BackendError("it runs ONNX files, and writing them needs onnx: pip install onnx")
    python = sys.executable if name in (OURS, "xla") else python
    command = [python, "-m", "asymtrack_jax.benchmark.worker", name, case.to_json()]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            env=_environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield BackendProcess(process, log)
        finally:
            process.kill()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a process that imports this package."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **settings}
