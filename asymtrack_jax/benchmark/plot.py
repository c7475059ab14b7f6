"""The plot of a benchmark: latency as bars, or throughput over batch sizes as lines."""

import io
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asymtrack_jax.benchmark.case import BASELINES, OURS

MARKERS = "os^Dv"  # by network and precision
COLORS = {name: f"C{index}" for index, name in enumerate((OURS, *BASELINES))}


def plot(cases: list[dict[str, Any]]) -> bytes:
    """Plots all functions, and returns a PNG image.

    For one batch size: the median latency as horizontal bars, with error bars from the minimum to
    the 95th percentile. For several: the throughput over the batch size, at the same latencies.
    """
    several = len({case["batch_size"] for case in cases}) > 1
    labels = _labels(cases)
    functions = dict.fromkeys(
        row["function"] for case in cases for row in case["rows"] if row["function"] != "matmul"
    )
    series = {
        function: [
            (case, row, labels[index])
            for index, case in enumerate(cases)
            for row in case["rows"]
            if row["function"] == function
        ]
        for function in functions
    }
    if several:
        columns = min(len(series), 3)
        rows = math.ceil(len(series) / columns)
        figure = Figure(figsize=(1 + 4 * columns, 0.5 + 3.5 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for unused in panels[len(series) :]:
            unused.remove()
        figure.supxlabel("batch size", fontsize="small")
        figure.supylabel(
            "frames per second at median, 95th percentile and minimum latency", fontsize="small"
        )
    else:
        heights = [len(found) for found in series.values()]
        figure = Figure(
            figsize=(8, 0.4 + 0.65 * len(series) + 0.3 * sum(heights)), layout="constrained"
        )
        panels = figure.subplots(len(series), 1, squeeze=False, height_ratios=heights).flat
        figure.supxlabel(
            "milliseconds per call: median, minimum to 95th percentile", fontsize="small"
        )
    for axes, (function, found) in zip(panels, series.items(), strict=False):
        axes.set_title(function, loc="left", fontsize="medium")
        (_lines if several else _bars)(axes, found)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _labels(cases: list[dict[str, Any]]) -> list[str]:
    """Labels each case by the properties that differ between cases, without the batch size."""
    keys = [key for key in ("network", "precision") if len({case[key] for case in cases}) > 1]
    return ["".join(f"{case[key]}, " for key in keys) for case in cases]


def _bars(axes: Axes, found: list[tuple[dict, dict, str]]) -> None:
    latencies = [row["latency_ms"] for _, row, _ in found]
    medians = [latency["median"] for latency in latencies]
    below = [latency["median"] - latency["min"] for latency in latencies]
    above = [latency["p95"] - latency["median"] for latency in latencies]
    names = [label + row["backend"] for _, row, label in found]
    colors = [COLORS[row["backend"]] for _, row, _ in found]
    axes.barh(names, medians, xerr=[below, above], color=colors, capsize=3, ecolor="0.3")
    for index, latency in enumerate(latencies):
        axes.annotate(
            f"{latency['median']:.2f}",
            (latency["p95"], index),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(latency["p95"] for latency in latencies))
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Axes, found: list[tuple[dict, dict, str]]) -> None:
    sizes = sorted({case["batch_size"] for case, _, _ in found})
    labels = list(dict.fromkeys(label for _, _, label in found))
    for label, name in dict.fromkeys((label, row["backend"]) for _, row, label in found):
        own = {
            c["batch_size"]: row for c, row, of in found if (of, row["backend"]) == (label, name)
        }
        medians = np.array([row["frames_per_s"] for row in own.values()])
        slow, fast = (
            medians * [row["latency_ms"]["median"] / row["latency_ms"][end] for row in own.values()]
            for end in ("p95", "min")
        )
        axes.errorbar(
            [sizes.index(size) for size in own],
            medians,
            yerr=[medians - slow, fast - medians],
            color=COLORS[name],
            marker=MARKERS[labels.index(label) % len(MARKERS)],
            capsize=3,
            label=label + name,
        )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
