"""Measures the throughput of the data pipeline on 720p JPEGs.

`python -m benchmarks.pipeline_throughput` writes sequences to a temporary folder, prepares them,
and prints training pairs per second and per CPU-second for each layout, and CPU time by part
of the work. The cases are interleaved, so that other load affects all equally; files are read from
the page cache.
"""

import platform
import resource
import tempfile
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data import augment, pipeline
from asymtrack_jax.data.augment import TRAINING
from asymtrack_jax.data.datasets import open_dataset, read_index
from asymtrack_jax.data.pipeline import Batches, MakeRecord, num_cores
from asymtrack_jax.data.prepare import CropOptions, prepare_crops, prepare_frames
from asymtrack_jax.data.sampler import PairSampler

CONFIG = VARIANTS["tiny"]
HEIGHT, WIDTH = 720, 1280
SEQUENCES, FRAMES = 4, 30
BATCH, BATCHES, ROUNDS = 32, 5, 5
CORES = num_cores()
CASES = {  # layout, and options of `Batches`
    f"original layout, {CORES} threads": ("files", {}),
    f"original layout, {CORES} processes": ("files", {"num_workers": CORES}),
    f"original layout, {CORES} threads, all frames cached": ("files", {"cache_bytes": 2**30}),
    f"prepared frames, {CORES} threads": ("frames", {}),
    f"prepared crops, {CORES} threads": ("crops", {}),
    f"prepared crops of reach 4.25, {CORES} threads": ("near crops", {}),
}


def write_sequences(root: Path) -> float:
    """Writes textured frames, and returns the mean size of their files in kB."""
    rng = np.random.default_rng(0)
    sizes = []
    for number in range(SEQUENCES):
        images = root / f"{number}" / "img"
        images.mkdir(parents=True)
        # Fine grain over coarse clouds: some 150 kB per frame, as in LaSOT and GOT-10k.
        cells = (rng.random((2**k, 2**k, 3)) for k in range(3, 10))
        clouds = sum(
            cv2.resize(cell, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * 0.5**level
            for level, cell in enumerate(cells)
        )
        frame = cv2.normalize(np.asarray(clouds), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # pyright: ignore[reportCallIssue, reportArgumentType]
        side = rng.uniform(60, 160)
        for index in range(FRAMES):
            path = images / f"{index:08}.jpg"
            cv2.imwrite(str(path), np.roll(frame, 5 * index, axis=1))
            sizes.append(path.stat().st_size)
        boxes = [f"{300 + 5 * index},250,{side},{1.4 * side}" for index in range(FRAMES)]
        (images.parent / "groundtruth.txt").write_text("\n".join(boxes))
    return float(np.mean(sizes)) / 1e3


def cpu_seconds() -> float:
    """Returns the CPU time of this process and its finished child processes."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rates(sampler: PairSampler, seed: int, **options) -> tuple[float, float]:
    """Returns pairs per second in steady state, and pairs per CPU-second, start-up included."""
    before = cpu_seconds()
    batches = Batches(sampler, CONFIG, BATCH, BATCHES, seed, **options)
    next(batches)
    start = time.perf_counter()
    count = BATCH * sum(1 for _ in batches)
    seconds = time.perf_counter() - start
    batches.close()
    return count / seconds, (count + BATCH) / (cpu_seconds() - before)


def parts(sampler: PairSampler, count: int) -> dict[str, float]:
    """Returns CPU milliseconds per pair of each part of the work, in one thread."""
    spent: dict[str, float] = {}

    def timed(function, name):
        def call(*arguments, **named):
            start = time.thread_time()
            result = function(*arguments, **named)
            spent[name] = spent.get(name, 0.0) + time.thread_time() - start
            return result

        return call

    make_record = MakeRecord(sampler, CONFIG, TRAINING, seed=0)
    decode = mock.patch.object(cv2, "imdecode", timed(cv2.imdecode, "decode"))
    crop = mock.patch.object(augment, "crop_square", timed(augment.crop_square, "crop"))
    pair = mock.patch.object(pipeline, "make_pair", timed(augment.make_pair, "pair"))
    with decode, crop, pair:
        start = time.thread_time()
        for number in range(count):
            make_record(number)
        total = time.thread_time() - start
    spent["augmentation"] = spent.pop("pair") - spent["crop"]
    spent["draw and read"] = total - sum(spent.values())
    return {name: 1e3 * seconds / count for name, seconds in spent.items()}


def main() -> None:
    """Runs the benchmark and prints the results."""
    print(
        f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}, "
        f"OpenCV {cv2.__version__}, NumPy {np.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        root, prepared = Path(folder) / "sequences", Path(folder) / "prepared"
        kilobytes = write_sequences(root)
        print(f"{WIDTH} x {HEIGHT} JPEGs of {kilobytes:.0f} kB; crops of tiny; {ROUNDS} rounds")
        index = read_index("folder", root)
        prepare_frames(index, "folder", prepared / "frames")
        prepare_crops(index, "folder", prepared / "crops", CropOptions())
        prepare_crops(index, "folder", prepared / "near crops", CropOptions(reach=4.25))
        samplers = {"files": PairSampler([index], [1.0])} | {
            path.name: PairSampler([open_dataset("folder", path)], [1.0])
            for path in prepared.iterdir()
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
        for seed in range(ROUNDS):
            for name, (layout, options) in CASES.items():
                found[name].append(rates(samplers[layout], seed, **options))
        for name, rounds in found.items():
            second, cpu_second = np.median(rounds, axis=0)
            print(f"{name}: {second:.0f} pairs/s, {cpu_second:.0f} pairs/CPU-second (medians)")
        for layout, sampler in samplers.items():
            one = parts(sampler, BATCH * BATCHES)
            listed = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in one.items())
            print(f"{layout}, one pair, CPU ms: {listed}; {sum(one.values()):.2f} in all")


if __name__ == "__main__":
    main()
