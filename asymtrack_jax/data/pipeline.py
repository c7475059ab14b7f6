"""From drawn pairs to batches of pixels: grain reads ahead, in threads or worker processes.

Everything about record i follows from the seed and i, so batches are the same whatever the number
of workers, hosts or restarts.
"""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import grain
import numpy as np
from absl import flags
from jaxtyping import Int64

from asymtrack_jax.config import Augmentation, ModelConfig
from asymtrack_jax.data.augment import TRAINING, Batch, Pair, make_pair
from asymtrack_jax.data.sampler import PairSampler, record_generator
from asymtrack_jax.data.sequences import read_frame
from asymtrack_jax.errors import InputError

_ATTEMPTS = 16  # draws for one record, before something must be wrong with the data
_NONE = -1

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
    """

    sampler: PairSampler
    config: ModelConfig
    augmentation: Augmentation
    seed: int

    def __call__(self, number: int) -> tuple[Pair, Int64[np.ndarray, "A 2"]]:
        """The record's pair, and the unreadable images met on the way: source, row; -1 pads.

        If every draw fails, the pair is black, and its box NaN.
        """
        rng = record_generator(self.seed, number)
        unreadable = np.full((_ATTEMPTS, 2), _NONE)
        for attempt in range(_ATTEMPTS):
            source, template, search = self.sampler.draw(rng)
            index = self.sampler.sources[source]
            row = template
            try:
                frames = {row: read_frame(index.frame_path(row))}
                row = search
                if search != template:
                    frames[row] = read_frame(index.frame_path(row))
            except InputError:
                unreadable[attempt] = source, row
                continue
            template, search = (
                (frames[row], index.boxes[row].astype(np.float64)) for row in (template, search)
            )
            pair = make_pair(rng, template, search, self.config, self.augmentation)
            if pair is not None:
                return pair, unreadable
        sides = self.config.template_size, self.config.search_size
        template, search = (np.zeros((side, side, 3), np.uint8) for side in sides)
        return Pair(template, search, np.full(4, np.nan, np.float32)), unreadable


class Batches(Iterator[Batch]):
    """An iterator over a seed's batches. It has no state to keep but the number of the next one.

    Attributes:
        unreadable: images that could not be read so far; each was logged once.
    """

    unreadable: dict[Path, None]

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
        num_workers: int = 0,
        num_threads: int = 4,
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
            num_workers: processes that make batches; 0 for none but this one.
            num_threads: that make batches in each process.
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
        records = grain.MapDataset.range(first_batch * share, num_batches * share)
        records = records.map(
            lambda i: i // share * batch_size + host * share + i % share  # the number in the list
        ).map(MakeRecord(sampler, config, augmentation, seed))
        batches = records.batch(share, drop_remainder=True)
        options = grain.ReadOptions(num_threads, prefetch_buffer_size=num_threads)
        dataset = batches.to_iter_dataset(options)
        if num_workers:
            if not flags.FLAGS.is_parsed():  # grain's processes insist on absl's flags
                flags.FLAGS.mark_as_parsed()
            processes = grain.MultiprocessingOptions(num_workers)
            dataset = dataset.mp_prefetch(processes, worker_init_fn=_one_thread_each)
        self._iterator = iter(dataset)

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            InputError: too many images cannot be read (listed), or a record's draws all failed.
        """
        pairs, unreadable = next(self._iterator)
        rows = unreadable.reshape(-1, 2)
        for source, row in rows[rows[:, 0] != _NONE].tolist():
            path = self._sampler.sources[source].frame_path(row)
            if path not in self.unreadable:
                self.unreadable[path] = None
                _log.warning("cannot read %s: passed over", path)
        listed = "".join(f"\n  {path}" for path in self.unreadable)
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
        """Ends the worker processes."""
        self._iterator.close()


def _one_thread_each(worker: int, num_workers: int) -> None:
    del worker, num_workers
    cv2.setNumThreads(1)
