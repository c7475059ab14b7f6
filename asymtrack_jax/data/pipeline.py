"""From drawn pairs to batches of pixels, read ahead by grain.

Everything about record i follows from the seed and i, so batches are the same whatever the number
of workers, hosts or restarts.
"""

import dataclasses
import functools
import logging
import os
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

_ATTEMPTS = 16  # draws for one record, before something must be wrong with the data
_NONE = -1

_Record = tuple[Pair, Int64[np.ndarray, "A 2"]]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class MakeRecord:
    """Makes record `number` of a seed's endless list: draws, reads, crops and augments a pair.

    An image that cannot be read is passed over by drawing anew.

    Attributes:
        sampler: where pairs are drawn from.
        config: sizes and factors of the crops.
        augmentation: how far the pairs vary.
        seed: of the list.
        cache_bytes: size of the decoded frames that are kept in memory.
    """

    sampler: PairSampler
    config: ModelConfig
    augmentation: Augmentation
    seed: int
    cache_bytes: int = 0

    def __call__(self, number: int) -> _Record:
        """The record's pair, and the unreadable images met on the way: source, row; -1 pads.

        If every draw fails, the pair is black, and its box NaN.
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
    """An iterator over a seed's batches. It has no state to keep but the number of the next one.

    Attributes:
        unreadable: images that could not be read so far; each was logged once.
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
        """Starts reading ahead.

        Batch b is the records `b * batch_size` to `(b + 1) * batch_size` of the seed.

        Args:
            sampler: where pairs are drawn from.
            config: sizes and factors of the crops.
            batch_size: pairs a batch, over all hosts.
            num_batches: where the list of batches ends.
            seed: of all chance.
            first_batch: where to begin: a run that goes on after step n begins with batch n.
            augmentation: how far the pairs vary.
            shard: this host's number and the number of hosts. Each gets its part of every batch.
            num_workers: worker processes that make batches, each with one thread; None for as many
                as there are cores, 0 for as many threads of this process.
            cache_bytes: size of the decoded frames kept in memory, over all workers.
            max_unreadable: images that may fail to be read before the run is stopped.

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

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            InputError: too many images cannot be read (listed), or a record's draws all failed.
        """
        pairs, unreadable = next(self._iterator)
        rows = unreadable.reshape(-1, 2)
        for source, row in rows[rows[:, 0] != _NONE].tolist():
            frame = self._sampler.sources[source].frame_name(row)
            if frame not in self.unreadable:
                self.unreadable[frame] = None
                _log.warning("cannot read %s: passed over", frame)
        listed = first_ten(list(self.unreadable))
        if len(self.unreadable) > self._max_unreadable:
            raise InputError(f"{len(self.unreadable)} images cannot be read:{listed}")
        if np.isnan(pairs.box).any():
            raise InputError(
                f"{_ATTEMPTS} draws in a row made no pair: their images cannot be read, or their "
                f"targets lie outside the frames; check the data sets. Unreadable so far:{listed}"
            )
        # Copies, for what comes from a worker lies in memory shared with it.
        return Batch(*(np.array(array) for array in pairs))

    def close(self) -> None:
        """Ends the threads or worker processes."""
        self._iterator.close()


def num_cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _record_number(batch_size: int, first: int, share: int, step: int) -> int:
    """The number in the seed's list of the `step`th record that this host makes."""
    return step // share * batch_size + first + step % share


def _grain_batches(
    make_record: MakeRecord,
    number: Callable[[int], int],
    steps: range,
    share: int,
    num_workers: int,
) -> Any:
    import grain  # here, as it takes a second, and importing the package should not
    from absl import flags

    records = grain.MapDataset.range(steps.start, steps.stop).map(number).map(make_record)
    num_threads = 1 if num_workers else num_cores()
    options = grain.ReadOptions(num_threads, prefetch_buffer_size=num_threads)
    dataset = records.batch(share, drop_remainder=True).to_iter_dataset(options)
    if num_workers:
        if not flags.FLAGS.is_parsed():  # grain's processes insist on absl's flags
            flags.FLAGS.mark_as_parsed()
        processes = grain.MultiprocessingOptions(num_workers)
        dataset = dataset.mp_prefetch(processes, worker_init_fn=_one_thread_each)
    return iter(dataset)


def _one_thread_each(worker: int, num_workers: int) -> None:
    del worker, num_workers
    cv2.setNumThreads(1)
