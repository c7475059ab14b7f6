"""What a benchmark found, as tables, as JSON and as a plot."""

import io
import json
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asymtrack_jax.files import write_atomically

COLUMNS = (
    "config",
    "precision",
    "batch",
    "function",
    "runtime",
    "min ms",
    "median ms",
    "p95 ms",
    "frames/s",
    "x ours",
    "Gop",
    "of peak",
    "trace s",
    "compile s",
    "first call s",
    "warm s",
    "program MiB",
    "process MiB",
    "device MiB",
)


def table(result: dict[str, Any]) -> str:
    """All of it in Markdown: environment, start-up, a row a measurement, notes."""
    lines = ["", "environment: " + _facts(result["environment"]), ""]
    for name, parts in result["start_up"].items():
        named = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items())
        lines.append(f"{name}, from the start of a process to its first box: {named}")
    lines += ["", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(_cells(row)) for row in result["rows"]]
    lines += ["", *(f"note: {note}" for note in result["notes"])]
    lines += [
        f"checked: {check['config']}, {check['precision']}, batch {check['batch_size']}: "
        f"{check['runtime']}'s boxes are within {check['boxes']:.1e} of ours, in sides of the "
        f"search crop, and scores within {check['scores']:.1e}"
        for check in result["checks"]
    ]
    return "\n".join(lines).rstrip()


def write(result: dict[str, Any], folder: Path) -> None:
    """Writes `benchmark.json` and `benchmark.png`."""
    write_atomically(folder / "benchmark.json", json.dumps(result, indent=1).encode() + b"\n")
    write_atomically(folder / "benchmark.png", plot(result["rows"]))


def plot(rows: list[dict[str, Any]]) -> bytes:
    """Latency and throughput of `step` over batch sizes, a PNG image."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    latency, throughput = figure.subplots(1, 2)
    steps = [row for row in rows if row["function"] == "step"]
    keys = dict.fromkeys((row["config"], row["precision"], row["runtime"]) for row in steps)
    for key in keys:
        own = [row for row in steps if (row["config"], row["precision"], row["runtime"]) == key]
        own.sort(key=lambda row: row["batch_size"])
        sizes = [row["batch_size"] for row in own]
        latencies = [row["latency_ms"] for row in own]
        medians = [values["median"] for values in latencies]
        (line,) = latency.plot(sizes, medians, marker="o", label=", ".join(key))
        lows, highs = ([values[name] for values in latencies] for name in ("min", "p95"))
        latency.fill_between(sizes, lows, highs, color=line.get_color(), alpha=0.15)
        throughput.plot(sizes, [row["frames_per_s"] for row in own], marker="o")
    for axes, title in (
        (latency, "latency of a step, ms: median, and from minimum to 95th percentile"),
        (throughput, "search crops a second"),
    ):
        sizes = sorted({row["batch_size"] for row in steps})
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("batch size")
        axes.set_title(title, fontsize="small")
        axes.grid(alpha=0.3)
    if steps:
        latency.legend(fontsize="x-small")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_facts(value)})" if isinstance(value, dict) else f"{name} {value or '-'}"
        for name, value in facts.items()
    )


def _cells(row: dict[str, Any]) -> list[str]:
    latency, mebi = row["latency_ms"], 2**-20

    def number(name: str, form: str, factor: float = 1) -> str:
        value = row.get(name)
        return "" if value is None else format(value * factor, form)

    return [
        row["config"],
        row["precision"],
        str(row["batch_size"]),
        row["function"],
        row["runtime"],
        *(f"{latency[name]:.2f}" for name in ("min", "median", "p95")),
        number("frames_per_s", ".1f"),
        number("times_ours", ".2f"),
        number("operations", ".2f", 1e-9),
        number("peak_fraction", ".0%"),
        number("trace_s", ".2f"),
        number("compile_s", ".2f"),
        number("first_call_s", ".2f"),
        number("first_call_warm_s", ".2f"),
        number("program_bytes", ".0f", mebi),
        number("peak_bytes", ".0f", mebi),
        number("device_bytes", ".0f", mebi),
    ]


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
