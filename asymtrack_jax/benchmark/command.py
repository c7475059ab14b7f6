"""What `benchmark.py` does: sets contestants up, lets them take turns, and reports."""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from asymtrack_jax.benchmark import report
from asymtrack_jax.benchmark.cell import FUNCTIONS, THREADS, Cell
from asymtrack_jax.benchmark.timing import summarise, take_turns
from asymtrack_jax.config import PRECISIONS, ModelConfig
from asymtrack_jax.config_files import load_config
from asymtrack_jax.errors import InputError

RIVALS = ("onnxruntime", "torch", "torch.compile", "xla")  # xla: ours without native kernels
ROOT = Path(__file__).parents[2]
START_UPS = 3  # with a warm cache; their median counts


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure, and how; `benchmark.py --help` explains each."""

    config: Sequence[Path] = (Path("configs/tiny.py"),)
    batch_sizes: Sequence[int] = (1,)
    precision: Sequence[str] = ("default",)
    functions: Sequence[str] = ("init_template", "step", "tracking")
    rounds: int = 20
    compare: Sequence[str] = ()
    compare_python: str = sys.executable
    output: Path = Path("results/benchmark")


def benchmark(options: Options) -> dict[str, Any]:
    """Measures, prints a table, and writes `benchmark.json` and `benchmark.png`.

    Returns:
        What the JSON file holds.

    Raises:
        InputError: an option is not as it should be, or this package's own run failed.
    """
    check(options)
    options.output.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "environment": {"load_average": _load(), "system": platform.platform()},
        "rows": [],
        "checks": [],
        "notes": [],
        "start_up": {},
    }
    configs = {path.stem: load_config(path).model for path in options.config}
    with tempfile.TemporaryDirectory() as folder:
        for (name, model), path in zip(configs.items(), options.config, strict=True):
            network = Path(folder) / name
            network.mkdir()
            _run([sys.executable, "-m", "asymtrack_jax.benchmark.network", str(path), str(network)])
            result["start_up"][name] = start_up(network)
            cells: list[tuple[Cell, dict[str, Any]]] = []
            for precision in options.precision:
                for batch_size in options.batch_sizes:
                    label = {"config": name, "precision": precision, "batch_size": batch_size}
                    cell_folder = network / f"{precision}_{batch_size}"
                    fields = dataclasses.asdict(model)
                    cell = Cell(
                        network, cell_folder, fields, batch_size, precision, options.functions
                    )
                    cell.write()
                    measure(cell, label, model, options, result)
                    cells.append((cell, label))
            result["checks"] += precisions(cells)
    print(report.table(result))
    report.write(result, options.output)
    print(f"\nwrote {options.output}/benchmark.json and benchmark.png")
    return result


def check(options: Options) -> None:
    """Raises `InputError` for the first option that cannot be used."""
    if min(options.batch_sizes, default=0) < 1 or options.rounds < 1:
        raise InputError("--batch-sizes and --rounds must be numbers of at least 1")
    for name, given, known in (
        ("--precision", options.precision, PRECISIONS),
        ("--functions", options.functions, FUNCTIONS),
        ("--compare", options.compare, RIVALS),
    ):
        if unknown := [value for value in given if value not in known]:
            raise InputError(f"{name}: unknown {', '.join(unknown)}; there are {', '.join(known)}")
    names = [path.stem for path in options.config]
    if len(set(names)) < len(names):
        raise InputError(f"--config: two files of one name in {', '.join(names)}")


def measure(
    cell: Cell, label: dict[str, Any], model: ModelConfig, options: Options, result: dict[str, Any]
) -> None:
    """Adds a cell's rows, checks and notes to the result."""
    with start("jax", cell, sys.executable) as first:
        cold = first.measured
    with ExitStack() as stack:
        contestants = {"jax": stack.enter_context(start("jax", cell, sys.executable))}
        ours = contestants["jax"]
        result["environment"] |= ours.facts
        tolerance = _tolerance(cell.precision, ours.facts["platform"])
        for rival in options.compare:
            try:
                entered = stack.enter_context(start(rival, cell, options.compare_python))
            except MissingError as missing:
                result["notes"].append(f"{rival} is left out: {missing}")
                continue
            difference = _difference(cell.folder / "jax.npz", cell.folder / f"{rival}.npz")
            result["checks"].append({**label, "runtime": rival, **difference})
            described = ", ".join(f"{name} differ by {d:.1e}" for name, d in difference.items())
            print(f"{_title(label)}: {rival}'s {described} from ours", file=sys.stderr)
            if max(difference.values()) > tolerance:
                result["notes"].append(
                    f"{_title(label)}: {rival} is not timed: its {described} from ours, and "
                    f"{tolerance:g} are allowed"
                )
                continue
            result["environment"][rival] = entered.facts
            contestants[rival] = entered
        with tqdm(total=options.rounds, desc=_title(label), unit="round") as bar:
            seconds = take_turns(contestants, options.rounds, bar.update)
        memory = {name: contestant.finish() for name, contestant in contestants.items()}
    result["rows"] += rows(label, seconds, contestants, cold, memory)


def rows(
    label: dict[str, Any],
    seconds: dict[tuple[str, str], list[float]],
    contestants: dict[str, Any],
    cold: dict[str, dict[str, float]],
    memory: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """A row for each function of each contestant.

    Args:
        label: names the cell.
        seconds: of each call, by contestant and function.
        contestants: with what they measured themselves; `jax` with a warm compilation cache.
        cold: what `jax` measured with an empty one.
        memory: of each contestant's process and on its device.
    """
    latencies = {key: summarise(values) for key, values in seconds.items()}
    matmul = latencies["jax", "matmul"]["min"]
    peak = contestants["jax"].measured["matmul"]["operations"] / (1e-3 * matmul)
    found = []
    for (name, function), latency in latencies.items():
        measured = dict(contestants[name].measured.get(function, {}))
        if name == "jax" and "first_call_s" in measured:
            measured["first_call_warm_s"] = measured.pop("first_call_s")
            measured["first_call_s"] = cold[function]["first_call_s"]
            measured["trace_s"] = cold[function]["trace_s"]
            measured["compile_s"] = cold[function]["compile_s"]
        count = 1 if function == "matmul" else label["batch_size"] * measured.pop("frames", 1)
        row = {**label, "runtime": name, "function": function, "latency_ms": latency}
        row |= {"frames_per_s": 1e3 * count / latency["median"], **measured, **memory[name]}
        if "operations" in measured:
            row["operations_per_s"] = measured["operations"] / (1e-3 * latency["median"])
            row["peak_fraction"] = row["operations_per_s"] / peak
        if name != "jax":
            row["times_ours"] = latency["median"] / latencies["jax", function]["median"]
        found.append(row)
    return found


def precisions(cells: Sequence[tuple[Cell, dict[str, Any]]]) -> list[dict[str, Any]]:
    """How far our own results are from those of precision `highest`, if that was measured too.

    Args:
        cells: of one network, with what names them.
    """
    highest = {cell.batch_size: cell.folder for cell, _ in cells if cell.precision == "highest"}
    return [
        {**label, "runtime": "precision highest", **_difference(cell.folder / "jax.npz", exact)}
        for cell, label in cells
        if cell.precision != "highest" and cell.batch_size in highest
        for exact in [highest[cell.batch_size] / "jax.npz"]
    ]


def start_up(network: Path) -> dict[str, float]:
    """Seconds from the start of a process to its first box, in parts, with a warm cache.

    Of `START_UPS` processes, that with the median total; `cold` is the total of one before them,
    with an empty cache.
    """
    environment = {"JAX_COMPILATION_CACHE_DIR": str(network / "start_up_cache")}

    def run() -> dict[str, float]:
        command = [sys.executable, "-m", "asymtrack_jax.benchmark.first_box"]
        output = _run([*command, str(network / "checkpoint"), repr(time.time())], environment)
        parts = json.loads(output.splitlines()[-1])
        return {**parts, "total": sum(parts.values())}

    cold = run()["total"]
    warm = sorted((run() for _ in range(START_UPS)), key=lambda parts: parts["total"])
    return {**warm[START_UPS // 2], "cold": cold}


class MissingError(Exception):
    """A contestant that cannot take part, and why."""


class Remote:
    """A contestant in a process of its own (`worker`).

    Attributes:
        functions: what it can run.
        facts: versions and device.
        measured: what it found out while it got ready, by function.
    """

    def __init__(self, process: subprocess.Popen, log: Path):
        self._process, self._log = process, log
        first = self._answer()
        if "missing" in first:
            raise MissingError(first["missing"])
        self.functions: list[str] = first["functions"]
        self.facts: dict[str, Any] = first["facts"]
        self.measured: dict[str, dict[str, float]] = first["measured"]

    def turn(self, function: str) -> list[float]:
        """Seconds of some calls (`timing.turn`)."""
        assert self._process.stdin is not None
        print(function, file=self._process.stdin, flush=True)
        return self._answer()

    def finish(self) -> dict[str, Any]:
        """Ends it; returns the most memory that it took, of its process and of its device."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text().strip().splitlines()
            raise MissingError(f"its process ended: {said[-1] if said else 'without a word'}")
        return json.loads(line)


@contextmanager
def start(runtime: str, cell: Cell, python: str) -> Iterator[Remote]:
    """A contestant that is ready; its process ends with the context.

    Raises:
        MissingError: it cannot take part; for `jax`, `InputError`.
    """
    if runtime == "onnxruntime" and cell.precision == "bfloat16":
        raise MissingError("its files are in float32")
    if runtime == "onnxruntime" and not (cell.network / "onnx").is_dir():
        raise MissingError("its files cannot be written; pip install 'asymtrack-jax[onnx]'")
    log = cell.folder / f"{runtime}.log"
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cell.folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(cell.folder / "inductor"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU's memory
    }
    if runtime == "xla":
        python, settings["ASYMTRACK_NATIVE"] = sys.executable, "0"
    command = [python, "-m", "asymtrack_jax.benchmark.worker", runtime, str(cell.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, env=_environment(settings), stderr=stderr, cwd=ROOT, **pipes
        )
        try:
            try:
                yield Remote(process, log)
            except MissingError as error:
                if runtime == "jax":
                    raise InputError(f"the benchmark's own run failed: {error}") from error
                raise
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


def _run(command: list[str], settings: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=_environment(settings or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _environment(settings: dict[str, str]) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **settings}


def _difference(one: Path, other: Path) -> dict[str, float]:
    with np.load(one) as ours, np.load(other) as theirs:
        return {name: float(np.abs(ours[name] - theirs[name]).max()) for name in ours}


def _tolerance(precision: str, device: str) -> float:
    """How far boxes, in sides of the crop, and scores may be from ours."""
    if precision == "highest" or (precision == "default" and device == "cpu"):
        return 1e-4
    return 0.1


def _title(label: dict[str, Any]) -> str:
    return f"{label['config']}, batch {label['batch_size']}, {label['precision']}"


def _load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) + f" on {THREADS} cores"
