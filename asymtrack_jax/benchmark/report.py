"""The report of a benchmark: Markdown, JSON and a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asymtrack_jax.benchmark.case import OURS
from asymtrack_jax.files import write_atomically

BUSY_LOAD = 0.25  # load average per core
BUSY_SPREAD = 2.0  # 95th percentile over median
NO_PLOT = "Note: no plot: it needs matplotlib; in a checkout: pip install -e '.[eval]'."
LEGEND = """\
median, min, p95: milliseconds per call (p95: 95th percentile). frames/s: templates or search crops
per second at the median. relative: latency over that of this package, median over rounds and 95 %
interval; above 1 this package is faster. of peak: operations per second, over those of a large
matrix product."""


def write(result: dict[str, Any], folder: Path) -> list[str]:
    """Writes `report.md`, `benchmark.json` and, if matplotlib is installed, `benchmark.png`.

    Each is written atomically.

    Returns:
        The names of the files.
    """
    sections = [case_section(case) for case in result["cases"]]
    image = _plot(result["cases"])
    picture = "![Latency, or throughput over batch sizes](benchmark.png)" if image else NO_PLOT
    parts = ["# Benchmark", summary(result), picture, *sections, resources(result)]
    files = {
        "report.md": ("\n\n".join(parts) + "\n").encode(),
        "benchmark.json": json.dumps(result, indent=1).encode() + b"\n",
    }
    if image:
        files["benchmark.png"] = image
    for name, content in files.items():
        write_atomically(folder / name, content)
    return list(files)


def _plot(cases: list[dict[str, Any]]) -> bytes | None:
    """Plots the cases; None without matplotlib."""
    try:
        from asymtrack_jax.benchmark.plot import plot
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    return plot(cases)


def case_section(case: dict[str, Any]) -> str:
    """Formats a case in Markdown: a table, the comparison, and notes."""
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
        for row in case["rows"]
        if row["function"] != "matmul"
    ]
    notes = [f"Note: {note}." for note in case["notes"]]
    notes += [
        f"Checked: {name} agrees with this package: {_difference(difference)}."
        for name, difference in case["differences"].items()
    ]
    if "error" in case:
        notes.append(f"Against precision highest: {_difference(case['error'])}.")
    heading = f"## {case['network']}, batch {case['batch_size']}, precision {case['precision']}"
    return "\n\n".join([heading, table(header, cells), verdict(case), *notes])


def verdict(case: dict[str, Any]) -> str:
    """States whether native kernels ran, and compares the speed of the backends."""
    ran = "its native kernels" if case["kernels"] == "native" else "XLA, without native kernels"
    sentences = [f"This package ran on {ran}."]
    for row in case["rows"]:
        if "relative_latency" not in row:
            continue
        ratio, name, function = row["relative_latency"], row["backend"], row["function"]
        if ratio["low"] <= 1 <= ratio["high"]:
            sentences.append(f"{function}: no measurable difference from {name}.")
        elif ratio["median"] > 1:
            sentences.append(f"{function}: {ratio['median']:.2f} times as fast as {name}.")
        else:
            inverse = 1 / ratio["median"]
            sentences.append(f"{function}: {name} is {inverse:.2f} times as fast as this package.")
    return "\n".join(sentences)


def summary(result: dict[str, Any]) -> str:
    """Formats the part common to all cases: warning, notes, legend and environment."""
    lines = [f"Note: {note}." for note in result["notes"]]
    if signs := busy(result):
        lines.insert(
            0,
            f"**Warning: the machine was busy: {'; '.join(signs)}.** Do not quote these figures; "
            "measure again on an idle machine.",
        )
    return "\n\n".join([*lines, LEGEND, f"Environment: {_facts(result['environment'])}."])


def busy(result: dict[str, Any]) -> list[str]:
    """Lists signs of other load: load average at the start, spread of our latency."""
    load, cores = result["environment"]["load"], result["environment"]["cores"]
    signs = [f"load average {load:.1f} on {cores} cores at the start"] * (load > BUSY_LOAD * cores)
    spreads = {
        row["latency_ms"]["p95"] / row["latency_ms"]["median"]: (case, row["function"])
        for case in result["cases"]
        for row in case["rows"]
        if row["backend"] == OURS
    }
    spread = max(spreads, default=0)
    if spread > BUSY_SPREAD:
        case, function = spreads[spread]
        signs.append(
            f"the 95th percentile of {function} is {spread:.1f} times its median "
            f"({case['network']}, batch {case['batch_size']}, {case['precision']})"
        )
    return signs


def resources(result: dict[str, Any]) -> str:
    """Formats compilation times and memory of all cases in Markdown."""
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
    """Formats a Markdown table; columns of numbers are right-aligned."""
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


def _difference(difference: dict[str, float]) -> str:
    return (
        f"boxes (normalised coordinates) differ by at most {difference['boxes']:.1e}, "
        f"scores by {difference['scores']:.1e}"
    )


def _ratio(ratio: dict[str, float] | None) -> str:
    return "{median:.2f} ({low:.2f}-{high:.2f})".format(**ratio) if ratio else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_facts(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in facts.items()
        if value not in ("", None, {})
    )
