"""The report of a benchmark: Markdown, JSON and a picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asymtrack_jax.benchmark.case import OURS
from asymtrack_jax.benchmark.plot import plot
from asymtrack_jax.files import write_atomically

LEGEND = """\
median, min, p95: latency in milliseconds per call (p95: 95th percentile). frames/s: search crops,
or templates, per second at the median. relative: a backend's latency over this package's (median
over rounds, 95 % interval); above 1 this package is faster. of peak: operations per second, over
those of a large matrix product. Backends are timed in interleaved rounds."""
SPREAD = 1.5  # 95th percentile over median, beyond which a machine counts as busy


def write(result: dict[str, Any], folder: Path) -> None:
    """Writes `benchmark.json`, `report.md` and `benchmark.png`, each atomically."""
    write_atomically(folder / "benchmark.json", json.dumps(result, indent=1).encode() + b"\n")
    sections = [case_section(case) for case in result["cases"]]
    parts = ["# Benchmark", "![Latency or throughput](benchmark.png)", *sections, summary(result)]
    write_atomically(
        folder / "report.md", ("\n\n".join([*parts, resources(result)]) + "\n").encode()
    )
    write_atomically(folder / "benchmark.png", plot(result["cases"]))


def case_section(case: dict[str, Any]) -> str:
    """One case in Markdown: a table, sentences that compare, and notes."""
    rows = [row for row in case["rows"] if row["function"] != "matmul"]
    header = ("function", "backend", "median", "min", "p95", "frames/s", "relative", "of peak")
    cells = [
        (
            row["function"],
            row["backend"],
            *(f"{row['latency_ms'][name]:.2f}" for name in ("median", "min", "p95")),
            f"{row['frames_per_s']:.1f}",
            _ratio(row.get("relative_latency")),
            _number(row.get("peak_fraction"), ".0%"),
        )
        for row in rows
    ]
    notes = [f"Note: {note}." for note in case["notes"]]
    notes += [
        f"Checked: {name}: boxes within {gap['boxes']:.1e} of this package's (normalised "
        f"coordinates), scores within {gap['scores']:.1e}."
        for name, gap in case["differences"].items()
    ]
    heading = f"## {case['network']}, batch {case['batch_size']}, precision {case['precision']}"
    blocks = [heading, table(header, cells), "\n".join(sentences(case)), "\n".join(notes)]
    return "\n\n".join(filter(None, blocks))


def sentences(case: dict[str, Any]) -> list[str]:
    """Says of each function who is how much faster, and whether the native kernels ran."""
    kernels = "native kernels" if case["kernels"] == "native" else "XLA, without native kernels"
    found = []
    for ours in case["rows"]:
        function = ours["function"]
        if ours["backend"] != OURS or function == "matmul":
            continue
        sentence = (
            f"{function}: this package ({kernels}) takes {ours['latency_ms']['median']:.2f} ms"
        )
        others = [
            _comparison(row)
            for row in case["rows"]
            if row["function"] == function and "relative_latency" in row
        ]
        found.append(", ".join([sentence, *others]) + ".")
    return found


def summary(result: dict[str, Any]) -> str:
    """Warnings, notes, legend and environment."""
    lines = [f"**Warning: {warning}.** {_BUSY}" for warning in warnings(result)]
    lines += [f"Note: {note}." for note in result["notes"]]
    lines += [LEGEND]
    lines.append(f"Environment: {_facts(result['environment'])}.")
    return "\n\n".join(lines)


def warnings(result: dict[str, Any]) -> list[str]:
    """Lists what says that the machine was busy: load before, and spread of the measurements."""
    found = list(result["warnings"])
    for case in result["cases"]:
        for row in case["rows"]:
            latency = row["latency_ms"]
            spread = latency["p95"] / latency["median"]
            if row["function"] == "matmul" and spread > SPREAD:
                found.append(
                    f"a matrix product of constant size took up to {spread:.1f} times its median "
                    f"({case['network']}, batch {case['batch_size']}, {case['precision']})"
                )
    return found


def resources(result: dict[str, Any]) -> str:
    """Compilation and memory of all cases in Markdown."""
    header = ("network", "batch", "precision", "function", "backend", "first", "cached", "MiB")
    cells = [
        (
            case["network"],
            str(case["batch_size"]),
            case["precision"],
            row["function"],
            row["backend"],
            _number(row.get("first_call_s"), ".2f"),
            _number(row.get("first_call_cached_s"), ".2f"),
            _number((row["device_bytes"] or row["peak_bytes"]) / 2**20, ".0f"),
        )
        for case in result["cases"]
        for row in case["rows"]
        if "first_call_s" in row
    ]
    legend = (
        "first: seconds of the first call, compilation included. cached: the same where the "
        "compilation cache has the program. MiB: peak memory of the device, or on a CPU of the "
        "process."
    )
    return f"## Compilation and memory\n\n{table(header, cells)}\n\n{legend}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligns a Markdown table: columns of numbers to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(cell[:1].isdigit() or not cell for cell in column[1:]) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * (w - 1) + (":" if right else "-") for w, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([line(header), line(rule), *map(line, rows)])


_BUSY = "The machine was busy: latencies are not to be quoted, and ratios with care."


def _comparison(row: dict[str, Any]) -> str:
    ratio = row["relative_latency"]
    if ratio["low"] <= 1 <= ratio["high"]:
        return f"no different from {row['backend']} within the measured spread"
    if ratio["median"] > 1:
        return f"{_ratio(ratio)} times as fast as {row['backend']}"
    inverse = {"median": 1 / ratio["median"], "low": 1 / ratio["high"], "high": 1 / ratio["low"]}
    return f"and {row['backend']} is {_ratio(inverse)} times as fast"


def _ratio(ratio: dict[str, float] | None) -> str:
    return "{median:.2f} ({low:.2f}-{high:.2f})".format(**ratio) if ratio else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_facts(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in facts.items()
        if value not in ("", None)
    )
