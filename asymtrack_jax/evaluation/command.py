"""Tracks a benchmark, or scores results that exist, and reports."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal

import tyro

import asymtrack_jax.tracking.model as models
from asymtrack_jax.compilation import set_precision
from asymtrack_jax.config import Precision
from asymtrack_jax.data import sequences as data
from asymtrack_jax.data.readers.benchmark import Selection
from asymtrack_jax.data.readers.text import read_lines
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import (
    page,
    report,
    results,
    runner,
    sheet,
    submissions,
    tables,
)
from asymtrack_jax.evaluation.benchmarks import (
    BENCHMARKS,
    BenchmarkName,
    is_annotated,
    read_sequences,
)
from asymtrack_jax.evaluation.protocols import PROTOCOLS, ProtocolName
from asymtrack_jax.evaluation.results import ResultFolder
from asymtrack_jax.evaluation.trackers import SingleSlot, make_factory
from asymtrack_jax.tracking.slots import make_batch_tracker
from asymtrack_jax.weights import TINY

NETWORK = "asymtrack"  # what --tracker calls this package's network


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Options of `asymtrack evaluate`.

    Attributes:
        dataset: the benchmark; by default rendered clips.
        data_dir: the dataset's folder; by default its folder in $ASYMTRACK_DATA.
        sequences: only these, such as A,B, or a file with one name per line; by default all.
        allow_missing: evaluate the sequences that are there, although others of the dataset are
            missing.
        checkpoint: its directory; by default the weights in the package.
        tracker: tracker to run; may be repeated, to compare. asymtrack is this package's network.
            opencv:NAME is OpenCV's csrt, dasiamrpn, kcf, mil, nano or vit, if it is built in, with
            options and model files as in opencv:nano?backbone=PATH&neckhead=PATH. MODULE:FACTORY is
            a class or function of your own; it is imported, and called for each sequence to make an
            object with init(frame, bbox) and update(frame).
        results: a folder of result files to score, PATH or NAME=PATH; may be repeated. Nothing is
            tracked then, unless --tracker is given too.
        origin: x and y of the top-left pixel in result files; by default what their manifest says,
            or else 1 for otb100 and 0 for all others.
        precision: float32 (highest), what the platform takes for it (default), or bfloat16, meant
            for accelerators.
        output: folder to write; by default results/DATASET, or results/DATASET_comparison with
            --tracker or --results.
        protocol: how results are scored; by default the dataset's own protocol.
        float_results: write boxes as floats, not truncated to integers as published.
        batch_size: sequences that are tracked at once.
        workers: threads that read images.
        shard: track share I of N, such as 1/4.
    """

    dataset: BenchmarkName = "synthetic"
    data_dir: Path | None = None
    sequences: str | None = None
    allow_missing: bool = False
    checkpoint: Path = TINY
    tracker: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    results: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    origin: Literal[0, 1] | None = None
    precision: Precision = "default"
    output: Path | None = None
    protocol: ProtocolName | None = None
    float_results: bool = False
    batch_size: int = 1
    workers: int = 2
    shard: str = "1/1"


def evaluate(options: EvaluateOptions, arguments: Sequence[str]) -> int:
    """Evaluates; returns the exit status.

    Args:
        options: options of the command.
        arguments: the command's arguments, for the manifest.

    Raises:
        InputError: an option is invalid, or an input is missing or invalid.
    """
    if options.batch_size < 1 or options.workers < 1:
        raise InputError("--batch-size and --workers must be at least 1")
    specs = options.tracker or (() if options.results else (NETWORK,))
    if NETWORK not in specs and options.batch_size > 1:
        raise InputError("--batch-size is the network's: add --tracker asymtrack")
    sequences = read_sequences(options.dataset, options.data_dir, _selection(options))
    number, count = _parse_shard(options.shard)
    share = sequences[number - 1 :: count]
    contestants = _contestants(options, specs, len(share))
    folders = _result_folders(options, contestants.keys())
    compares = bool(options.tracker or options.results)
    name = f"{options.dataset}_comparison" if compares else options.dataset
    output = options.output or Path("results") / name
    runs = {}
    for label, contestant in contestants.items():
        directory = (output / label if compares else output) / results.BOXES
        runs[label] = _track(options, contestant, share, directory, arguments)
        folder = _folder(options, label, directory)
        if any(folder.find(sequence.name) for sequence in sequences):
            folders.append(folder)
        if runs[label].interrupted:
            break
    output.mkdir(parents=True, exist_ok=True)
    reported = not folders or _report(options, sequences, folders, output)
    for label, run in runs.items():
        _print_run(label, run)
    return max([int(not reported), *(run.exit_status for run in runs.values())])


def _selection(options: EvaluateOptions) -> Selection:
    text = options.sequences or ""
    if text and "," not in text and Path(text).is_file():
        names = read_lines(Path(text))
    else:
        names = text.split(",")
    selected = tuple(filter(None, map(str.strip, names)))
    if text and not selected:
        raise InputError(f"--sequences {text} names no sequence: leave it out for all of them")
    return Selection(selected, options.allow_missing)


def _parse_shard(text: str) -> tuple[int, int]:
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        number, count = 0, 0
    if not 1 <= number <= count:
        raise InputError(f"--shard {text}: expected I/N with I from 1 to N, such as 1/4")
    return number, count


@dataclasses.dataclass(frozen=True)
class _Contestant:
    """A tracker, and its description for the manifest."""

    slots: runner.Slots
    description: Mapping[str, Any]


def _contestants(
    options: EvaluateOptions, specs: Iterable[str], num_sequences: int
) -> dict[str, _Contestant]:
    """Makes all trackers, by name, before the first one tracks."""
    made: dict[str, _Contestant] = {}
    for spec in specs:
        if spec == NETWORK:
            label = options.checkpoint.resolve().name
            contestant = _network(options, num_sequences)
        else:
            label = spec.partition("?")[0].replace(":", "-")
            contestant = _Contestant(SingleSlot(make_factory(spec)), {"tracker": spec})
        if label in made:
            raise InputError(
                f"--tracker {spec}: two are called {label}; give each its own --output"
            )
        made[label] = contestant
    return made


def _network(options: EvaluateOptions, num_sequences: int) -> _Contestant:
    model = models.load(options.checkpoint, dtype=set_precision(options.precision))
    batch_size = min(options.batch_size, max(num_sequences, 1))
    description = results.describe_network(options.checkpoint, model.config, model.dtype.name)
    return _Contestant(make_batch_tracker(model, batch_size), description)


def _track(
    options: EvaluateOptions,
    contestant: _Contestant,
    sequences: Sequence[data.Sequence],
    directory: Path,
    arguments: Sequence[str],
) -> runner.Run:
    """Tracks the sequences that have no result yet."""
    origin = BENCHMARKS[options.dataset].origin if options.origin is None else options.origin
    result_format = results.ResultFormat(options.float_results, origin)
    manifest = results.make_manifest(
        contestant.description,
        options.dataset,
        options.protocol or BENCHMARKS[options.dataset].protocol,
        result_format=result_format,
        options=dataclasses.asdict(options),
        command=shlex.join(["asymtrack", "evaluate", *arguments]),
    )
    results.open_results_dir(directory, manifest)
    return runner.run(
        contestant.slots,
        sequences,
        directory,
        result_format,
        workers=options.workers,
        warm_up=not isinstance(contestant.slots, SingleSlot),
    )


def _result_folders(options: EvaluateOptions, taken: Set[str]) -> list[ResultFolder]:
    """Returns the folders of `--results`; for an output of this command its folder of boxes.

    Args:
        options: options of the command.
        taken: names of the other trackers of the report.

    Raises:
        InputError: there is no such folder, or its name is another's.
    """
    named: dict[str, ResultFolder] = {}
    for text in options.results:
        name, separator, rest = text.partition("=")
        if not separator or Path(text).is_dir():
            name, rest = "", text
        path = Path(rest)
        if not path.is_dir():
            raise InputError(
                f"no folder {path}: --results names a folder of result files, as PATH or NAME=PATH"
            )
        label = name or _label(path)
        if label in taken | named.keys() and not name:
            label = str(path)
        if label in taken | named.keys():
            raise InputError(f"--results {text}: another one is called {label}; use NAME=PATH")
        directory = path / results.BOXES if (path / results.BOXES).is_dir() else path
        named[label] = _folder(options, label, directory)
    return list(named.values())


def _label(path: Path) -> str:
    """Returns a label for results: the folder's name, or its parent's if it is `boxes`."""
    path = path.resolve()
    return path.parent.name if path.name == results.BOXES else path.name


def _folder(options: EvaluateOptions, label: str, directory: Path) -> ResultFolder:
    benchmark = BENCHMARKS[options.dataset]
    origin = options.origin
    if origin is None:
        origin = results.read_origin(directory, benchmark.origin)
    return ResultFolder(label, directory, origin, benchmark.prefix)


def _report(
    options: EvaluateOptions,
    sequences: Sequence[data.Sequence],
    folders: Sequence[ResultFolder],
    output: Path,
) -> bool:
    """Scores results, prints and writes the report; or makes the archive that a server scores.

    Returns:
        Whether everything could be written; if not, it was printed all the same.
    """
    benchmark = BENCHMARKS[options.dataset]
    if benchmark.server and (options.sequences or options.allow_missing):
        print(f"no archive for {benchmark.server}: it takes all sequences, and these are selected")
    elif benchmark.server:
        for folder in folders:
            _submit(benchmark.server, folder, sequences, output)
    annotated = [sequence for sequence in sequences if is_annotated(sequence)]
    if not annotated:
        if benchmark.server:
            print(
                f"{options.dataset}: the annotation is withheld; {benchmark.server} scores archives"
            )
            print(tables.published_text(options.dataset))
        else:
            print(f"{options.dataset}: nothing to score, as only first frames have true boxes")
        return True
    compared = report.compare(
        options.dataset,
        PROTOCOLS[options.protocol or benchmark.protocol],
        folders,
        annotated,
        num_sequences=benchmark.num_sequences or len(sequences),
        attributes=benchmark.attributes() if benchmark.attributes else None,
    )
    notes = list(compared.notes)
    if options.sequences:
        notes.append(f"only the sequences that --sequences names ({len(sequences)})")
    worst: dict[str, str] = {}
    try:
        shown, reasons = _plot(compared, annotated, output)
        notes += reasons
        try:
            worst = sheet.write_contact_sheet(compared, annotated, output)
        except InputError as error:
            if options.tracker or not options.results:  # scoring alone needs no images
                notes.append(f"no contact sheet: {error}")
        compared = dataclasses.replace(compared, notes=notes)
        tables.write(compared, output, shown | worst)
        page.write(compared, annotated, output, shown)
    except OSError as error:
        print(tables.text(compared))
        print(f"the report could not be written: {error}", file=sys.stderr)
        return False
    print(tables.text(compared))
    others = ", ".join([tables.MARKDOWN, tables.JSON, *shown.values(), *worst.values()])
    print(f"report: {output / page.NAME}, with {others}")
    return True


def _plot(
    compared: report.Report, sequences: Sequence[data.Sequence], output: Path
) -> tuple[dict[str, str], list[str]]:
    """Plots the report, if matplotlib is installed.

    Returns:
        The pictures by title, and why there are not more.
    """
    try:
        from asymtrack_jax.evaluation import plots
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return {}, ["no plots: they need matplotlib; in a checkout: pip install -e '.[eval]'"]
    shown = plots.write_plots(compared, output)
    try:
        return shown | plots.write_reliability(compared, sequences, output), []
    except InputError as error:
        return shown, [f"no plot of scores: {error}"]


def _submit(
    server: str, folder: ResultFolder, sequences: Sequence[data.Sequence], output: Path
) -> None:
    label = re.sub(r"[^\w.-]", "_", folder.label)  # which may be a path
    path = output / f"{label}_{server.lower().replace('-', '')}.zip"
    try:
        submissions.write_submission(path, server, folder, sequences)
    except InputError as error:
        print(error, file=sys.stderr)
    else:
        print(f"{path}: {len(sequences)} checked results for {server}'s server")


def _print_run(label: str, run: runner.Run) -> None:
    """Prints the number of sequences, the speed and the failures of a run."""
    print(f"{label}: {run.finished} sequences finished now, {run.skipped} before")
    if run.frames:
        rest = run.wall_seconds - run.waiting_seconds - run.tracker_seconds
        print(
            f"{run.frames / run.wall_seconds:.1f} frames/s: {run.wall_seconds:.1f} s, of which "
            f"{run.tracker_seconds:.1f} tracking, {run.waiting_seconds:.1f} waiting for images, "
            f"{rest:.1f} writing and else"
        )
    for name, reason in run.failures.items():
        print(f"failed: {name}: {reason}")
    if run.interrupted:
        print("interrupted: the same command carries on from here")
