"""Batches of training pairs, prefetched by grain.

Record i is determined by the seed and i, so batches do not depend on the number of workers, hosts
or restarts.
"""

import dataclasses
import functools
import logging
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int64

from asymtrack_jax.config import Augmentation, ModelConfig
from asymtrack_jax.data.augment import TRAINING, Batch, Pair, make_pair
from asymtrack_jax.data.frame_cache import FrameCache
from asymtrack_jax.data.sampler import PairSampler, record_generator
from asymtrack_jax.errors import InputError, first_ten

_ATTEMPTS = 16  # draws per record before it counts as failed
_NONE = -1

_Record = tuple[Pair, Int64[np.ndarray, "A 2"]]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class MakeRecord:
    """Makes a record, that is, a training pair: draws, reads, crops and augments two frames.

    If an image cannot be read, another pair is drawn.

    Attributes:
        sampler: sampler of the pairs.
        config: sizes and factors of the crops.
        augmentation: augmentation of the pairs.
        seed: random seed.
        cache_bytes: maximum size of the decoded frames kept in memory.
    """

    sampler: PairSampler
    config: ModelConfig
    augmentation: Augmentation
    seed: int
    cache_bytes: int = 0

    def __call__(self, number: int) -> _Record:
        """Makes record `number`.

        Returns:
            The pair, and the unreadable images, [attempts, 2] of source and row, padded with -1.
            If all draws fail, the pair's crops are black and its box is NaN.
        """
        rng = record_generator(self.seed, number)
        unreadable = np.full((_ATTEMPTS, 2), _NONE)
        for attempt in range(_ATTEMPTS):
            number, template, search = self.sampler.draw(rng)
            source = self.sampler.sources[number]
            row = template
            try:
                frames = {row: self._frames.read(number, row)}
                row = search
                if search != template:
                    frames[row] = self._frames.read(number, row)
            except InputError:
                unreadable[attempt] = number, row
                continue
            template, search = (
                (frames[row], source.boxes[row].astype(np.float64)) for row in (template, search)
            )
            pair = make_pair(rng, template, search, self.config, self.augmentation)
            if pair is not None:
                return pair, unreadable
        sides = self.config.template_size, self.config.search_size
        template, search = (np.zeros((side, side, 3), np.uint8) for side in sides)
        return Pair(template, search, np.full(4, np.nan, np.float32)), unreadable

    @functools.cached_property
    def _frames(self) -> FrameCache:
        return FrameCache(self.sampler.sources, self.cache_bytes)


class Batches(Iterator[Batch]):
    """Iterator over batches, whose only state is the number of the next batch.

    Attributes:
        unreadable: names of the images that could not be read so far; each was logged once.
    """

    unreadable: dict[str, None]

    def __init__(
        self,
        sampler: PairSampler,
        config: ModelConfig,
        batch_size: int,
        num_batches: int,
        seed: int,
        first_batch: int = 0,
        augmentation: Augmentation = TRAINING,
        shard: tuple[int, int] = (0, 1),
        num_workers: int | None = 0,
        cache_bytes: int = 0,
        max_unreadable: int = 100,
    ):
        """Starts prefetching.

        Batch b consists of the records `b * batch_size` to `(b + 1) * batch_size` of the seed.

        Args:
            sampler: sampler of the pairs.
            config: sizes and factors of the crops.
            batch_size: pairs per batch, over all hosts.
            num_batches: number of batches, those before `first_batch` included.
            seed: random seed.
            first_batch: number of the first batch; a run that resumes after step n needs batch n.
            augmentation: augmentation of the pairs.
            shard: this host's number and the number of hosts; each makes its part of every batch.
            num_workers: number of worker processes of one thread each; None for one per core, 0 for
                one thread per core in this process.
            cache_bytes: maximum size of the decoded frames kept in memory, over all workers.
            max_unreadable: maximum number of unreadable images before iteration fails.

        Raises:
            InputError: the batch cannot be divided among the hosts.
        """
        host, num_hosts = shard
        if batch_size < 1 or batch_size % num_hosts:
            raise InputError(
                f"a batch of {batch_size} cannot be divided equally among {num_hosts} hosts"
            )
        self._sampler = sampler
        self._max_unreadable = max_unreadable
        self.unreadable = {}

        share = batch_size // num_hosts
        steps = range(first_batch * share, num_batches * share)
        number = functools.partial(_record_number, batch_size, host * share, share)
        workers = num_cores() if num_workers is None else num_workers
        make_record = MakeRecord(
            sampler, config, augmentation, seed, cache_bytes // max(workers, 1)
        )
        self._iterator = _grain_batches(make_record, number, steps, share, workers)
        # Also if nobody closes it: workers ignore the signal by which Python would end them.
        self._close = weakref.finalize(self, self._iterator.close)

    def __next__(self) -> Batch:
        """Returns the next batch.

        Raises:
            InputError: too many images cannot be read (listed), or all draws of a record failed.
        """
        pairs, unreadable = next(self._iterator)
        rows = unreadable.reshape(-1, 2)
        for source, row in rows[rows[:, 0] != _NONE].tolist():
            frame = self._sampler.sources[source].frame_name(row)
            if frame not in self.unreadable:
                self.unreadable[frame] = None
                _log.warning("cannot read %s: skipped", frame)
        listed = first_ten(list(self.unreadable))
        if len(self.unreadable) > self._max_unreadable:
            raise InputError(f"{len(self.unreadable)} images cannot be read:{listed}")
        if np.isnan(pairs.box).any():
            raise InputError(
                f"{_ATTEMPTS} draws in a row made no pair: their images cannot be read, or their "
                f"targets lie outside the frames; check the datasets. Unreadable so far:{listed}"
            )
        # Copied, because arrays from a worker lie in memory that it shares.
        return Batch(*(np.array(array) for array in pairs))

    def close(self) -> None:
        """Stops the threads or worker processes."""
        self._close()


def num_cores() -> int:
    """Returns the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _record_number(batch_size: int, first: int, share: int, step: int) -> int:
    """Returns the number of the `step`th record that this host makes."""
    return step // share * batch_size + first + step % share


def _grain_batches(
    make_record: MakeRecord,
    number: Callable[[int], int],
    steps: range,
    share: int,
    num_workers: int,
) -> Any:
    import grain  # takes a second
    from absl import flags

    records = grain.MapDataset.range(steps.start, steps.stop).map(number).map(make_record)
    num_threads = 1 if num_workers else num_cores()
    options = grain.ReadOptions(num_threads, prefetch_buffer_size=num_threads)
    dataset = records.batch(share, drop_remainder=True).to_iter_dataset(options)
    if num_workers:
        if not flags.FLAGS.is_parsed():  # grain's processes require parsed absl flags
            flags.FLAGS.mark_as_parsed()
        processes = grain.MultiprocessingOptions(num_workers)
        dataset = dataset.mp_prefetch(processes, worker_init_fn=_start_worker)
    return iter(dataset)


def _start_worker(worker: int, num_workers: int) -> None:
    """Sets a worker process up: it has one thread, and ends with the main process and not before.

    Ctrl-C, and the SIGTERM of a cluster, reach all processes of a run; its loop decides when to
    stop, and needs batches until then.
    """
    del worker, num_workers
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
