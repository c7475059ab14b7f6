"""Runs a benchmark: sets backends up, times them in interleaved rounds, and writes the report."""

import dataclasses
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from asymtrack_jax.benchmark import report
from asymtrack_jax.benchmark.case import BASELINES, FUNCTIONS, OURS, THREADS, BenchmarkCase
from asymtrack_jax.benchmark.network import load_network, write
from asymtrack_jax.benchmark.process import BackendError, BackendProcess, start
from asymtrack_jax.benchmark.timing import Rounds, interleave, latency_ms, ratio
from asymtrack_jax.config import PRECISIONS
from asymtrack_jax.errors import InputError
from asymtrack_jax.weights import TINY


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """Options of `asymtrack benchmark`.

    Attributes:
        config: configurations by name or path, whose networks get random weights.
        checkpoint: directories of checkpoints to measure instead; by default the package's weights.
        batch_sizes: images per call, such as 1,8,64.
        precision: `highest` (float32), `default` (the platform's default for float32), or
            `bfloat16`.
        functions: a selection of init_template, step (the network alone), tracking (crops on the
            host, step, boxes in the frame) and video (many frames in one program on the device).
        rounds: number of rounds, each of which times five calls of each function and backend.
        compare: baselines: onnxruntime, torch, torch.compile, xla (this package without its native
            kernels).
        compare_python: Python interpreter with the baselines' libraries and numpy, and onnx for
            torch; by default this one.
        output: folder for report.md, benchmark.json and, with matplotlib, benchmark.png.
    """

    config: tuple[Path, ...] = ()
    checkpoint: tuple[Path, ...] = ()
    batch_sizes: tuple[int, ...] = (1,)
    precision: tuple[str, ...] = ("default",)
    functions: tuple[str, ...] = ("init_template", "step", "tracking")
    rounds: int = 20
    compare: tuple[str, ...] = ()
    compare_python: str | None = None
    output: Path = Path("results/benchmark")


def benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measures all cases; prints and writes the report after each (`report.write`).

    A case that cannot be measured, for example because it does not fit in memory, is noted in the
    report.

    Returns:
        The content of `benchmark.json`.

    Raises:
        InputError: an option is invalid, or no case could be measured.
    """
    check(options)
    options.output.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]  # before the benchmark's own
    result: dict[str, Any] = {
        "environment": {"system": platform.platform(), "cores": THREADS, "load": round(load, 2)},
        "cases": [],
        "notes": [],
    }
    written: list[str] = []
    precisions = sorted(
        options.precision, key=lambda name: name != "highest"
    )  # the reference first
    with tempfile.TemporaryDirectory() as folder:
        for source in sources(options):
            network = Path(folder) / source.stem
            network.mkdir()
            write(load_network(source), network, options.batch_sizes)
            for size in options.batch_sizes:
                exact: dict[str, np.ndarray] = {}
                for precision in precisions:
                    case = BenchmarkCase(network, size, precision, options.functions)
                    try:
                        measured, outputs = measure(case, options, result["environment"])
                    except BackendError as error:
                        result["notes"].append(f"{title(case)}: not measured: {error}")
                        continue
                    if exact:
                        measured["error"] = difference(outputs, exact)
                    if precision == "highest":
                        exact = outputs
                    result["cases"].append(measured)
                    print(report.case_section(measured), flush=True)
                    written = report.write(result, options.output)
    if not result["cases"]:
        raise InputError("nothing could be measured:\n" + "\n".join(result["notes"]))
    print(report.summary(result))
    print(f"\nwrote to {options.output}: {', '.join(written)}")
    if "benchmark.png" not in written:
        print(report.NO_PLOT)
    return result


def check(options: BenchmarkOptions) -> None:
    """Raises `InputError` for the first invalid option."""
    if min(options.batch_sizes, default=0) < 1 or options.rounds < 1:
        raise InputError("--batch-sizes and --rounds must be numbers of at least 1")
    for name, given, known in (
        ("--precision", options.precision, PRECISIONS),
        ("--functions", options.functions, FUNCTIONS),
        ("--compare", options.compare, BASELINES),
    ):
        if unknown := [value for value in given if value not in known]:
            raise InputError(f"{name}: unknown {', '.join(unknown)}; there are {', '.join(known)}")
    if options.compare_python and not shutil.which(options.compare_python):
        raise InputError(f"--compare-python: there is no program {options.compare_python}")
    if options.config and options.checkpoint:
        raise InputError("--config and --checkpoint: give one or the other")
    for source in options.checkpoint:
        if not source.is_dir():
            raise InputError(f"--checkpoint: there is no directory {source}")
    names = [source.stem for source in sources(options)]
    if len(set(names)) < len(names):
        raise InputError(
            f"two networks have the same name among {', '.join(names)}: measure them separately"
        )


def sources(options: BenchmarkOptions) -> tuple[Path, ...]:
    """Lists the configuration files or checkpoints to measure."""
    return options.checkpoint or options.config or (TINY,)


def measure(
    case: BenchmarkCase, options: BenchmarkOptions, environment: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measures a case.

    Args:
        case: the case to run.
        options: number of rounds, and baselines.
        environment: dict that is updated with the versions and devices of all backends.

    Returns:
        The case's part of the report, and this package's outputs, `boxes` and `scores`.

    Raises:
        BackendError: this package's process failed, or a baseline's after its start.
    """
    print(f"{title(case)}: compiling", file=sys.stderr, flush=True)
    notes: list[str] = []
    differences: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cache = Path(folder)
        with start(OURS, case, sys.executable, cache) as first:
            cold = first.measured
        ours = stack.enter_context(start(OURS, case, sys.executable, cache))
        backends = {OURS: ours}
        environment |= {key: fact for key, fact in ours.facts.items() if key != "kernels"}
        python = options.compare_python or sys.executable
        for name in options.compare:
            try:
                baseline = stack.enter_context(start(name, case, python, cache))
            except BackendError as error:
                notes.append(f"{name} is left out: {error}")
                continue
            differences[name] = difference(baseline.outputs, ours.outputs)
            allowed = tolerance(case.precision, ours.facts["platform"])
            if max(differences[name].values()) > allowed:
                notes.append(f"{name} is not timed: its outputs differ by more than {allowed:g}")
                continue
            environment[name] = dict(baseline.facts.items() - ours.facts.items())
            backends[name] = baseline
        with tqdm(total=options.rounds, desc=title(case), unit="round") as bar:
            seconds = interleave(backends, options.rounds, bar.update)
        memory = {name: backend.finish() for name, backend in backends.items()}
    measured = {
        "network": case.network.name,
        "precision": case.precision,
        "batch_size": case.batch_size,
        "kernels": ours.facts["kernels"],
        "rows": rows(case.batch_size, seconds, backends, cold, memory),
        "differences": differences,
        "notes": notes,
    }
    return measured, ours.outputs


def rows(
    batch_size: int,
    seconds: Mapping[tuple[str, str], Rounds],
    backends: Mapping[str, BackendProcess],
    cold: Mapping[str, Mapping[str, float]],
    memory: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Lists the measurements of each function of each backend.

    Args:
        batch_size: images per call.
        seconds: seconds of each call in each round, by function and backend.
        backends: backends by name; this package's had a warm compilation cache.
        cold: this package's measurements with an empty compilation cache, by function.
        memory: `peak_bytes` and `device_bytes` by backend.
    """
    peak = backends[OURS].measured["matmul"]["operations"] / (
        1e-3 * latency_ms(seconds["matmul", OURS])["min"]
    )
    found = []
    for (function, name), rounds in seconds.items():
        measured = backends[name].measured.get(function, {})
        latency = latency_ms(rounds)
        frames = 1 if function == "matmul" else batch_size * measured.get("frames", 1)
        row: dict[str, Any] = {"function": function, "backend": name, "latency_ms": latency}
        row |= {"frames_per_s": 1e3 * frames / latency["median"], **memory[name]}
        if "first_call_s" in measured:
            row["first_call_s"] = measured["first_call_s"]
            if name == OURS:
                row["first_call_cached_s"] = row["first_call_s"]
                row["first_call_s"] = cold[function]["first_call_s"]
        if "operations" in measured:
            row["operations_per_s"] = measured["operations"] / (1e-3 * latency["median"])
            row["peak_fraction"] = row["operations_per_s"] / peak
        if name != OURS:
            row["relative_latency"] = ratio(rounds, seconds[function, OURS])
        found.append(row)
    return found


def difference(
    outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Returns the largest absolute difference of each output."""
    return {name: float(np.abs(outputs[name] - reference[name]).max()) for name in reference}


def tolerance(precision: str, platform_name: str) -> float:
    """Returns the tolerance for a baseline's boxes (normalised coordinates) and scores."""
    exact = precision == "highest" or (precision == "default" and platform_name == "cpu")
    return 1e-4 if exact else 0.1


def title(case: BenchmarkCase) -> str:
    """Formats the name of a case."""
    return f"{case.network.name}, batch {case.batch_size}, {case.precision}"
