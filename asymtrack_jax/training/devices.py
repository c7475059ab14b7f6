"""Data parallelism: the state is replicated on all devices, the batch is sharded over them.

A step jitted over a mesh computes what it computes on one device: means and batch norm statistics
are over the global batch, since XLA inserts the collectives they need.
"""

import contextlib
import ctypes
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool

from asymtrack_jax.config import TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.data.pipeline import num_cores
from asymtrack_jax.errors import InputError

_AXIS = "data"
# Environment variables with a launcher's number of processes. JAX detects the rest itself.
_LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_STEPS_TO_AGREE = 10
# A process that fails waits this long at its exit for the others, which wait for it in their next
# step; then JAX terminates them all.
_SHUTDOWN_SECONDS = 60
# M_ARENA_MAX, M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h: one heap for all threads and all sizes,
# which never shrinks.
_KEEP_FREED_MEMORY = ((-8, 1), (-4, 0), (-1, -1))


def initialize_distributed(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Connects the processes of a multi-process run; does nothing in a single-process run.

    Arguments that are None are read from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`. If those are not set either, JAX detects the processes that were started by
    Slurm, Open MPI or on a TPU pod with `TPU_WORKER_HOSTNAMES`. Call it before anything that
    initialises JAX's devices.

    Args:
        coordinator: host and port of process 0, such as `10.0.0.1:1234`.
        num_processes: number of processes of the run.
        process_id: index of this process, from 0.

    Raises:
        InputError: only some of the three are set, or one of them is not valid.
    """
    given = {
        "JAX_COORDINATOR_ADDRESS": coordinator,
        "JAX_NUM_PROCESSES": num_processes,
        "JAX_PROCESS_ID": process_id,
    }
    settings = {
        name: os.environ.get(name, "") if value is None else str(value)
        for name, value in given.items()
    }
    missing = [name for name, value in settings.items() if not value]
    if not missing:
        address, processes, process = settings.values()
        if ":" not in address:
            raise InputError(f"the coordinator must be a host and a port, host:port, got {address}")
        if not (processes.isdecimal() and process.isdecimal() and int(process) < int(processes)):
            raise InputError(
                "the process id must be a number from 0 to below the number of processes, "
                f"got {process} of {processes}"
            )
        jax.distributed.initialize(
            address,
            int(processes),
            int(process),
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    elif len(missing) < 3:
        raise InputError(
            "a run of several processes needs its coordinator's address, their number and the id "
            f"of each; set {' and '.join(missing)} too, or pass them as arguments"
        )
    elif _is_launched():
        jax.distributed.initialize(shutdown_timeout_seconds=_SHUTDOWN_SECONDS)


def _is_launched() -> bool:
    several = any(int(os.environ.get(name, 1)) > 1 for name in _LAUNCHERS)
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def prepare_cpu(config: TrainConfig) -> None:
    """Sets this process up to train fast on a CPU, before anything that asks for devices.

    Each core becomes a device, as far as they divide the batch, since XLA spreads some operations
    over devices but not over threads. What the user has set (`JAX_NUM_CPU_DEVICES`, or
    `--xla_force_host_platform_device_count` in `XLA_FLAGS`) is left as it is, as are the processes
    of a run over several. And glibc keeps the memory that a step frees for the next one: the kernel
    takes a third of a step's time to map and clear its pages again (docs/performance.md).
    """
    configured = jax.config.values["jax_num_cpu_devices"] != -1
    configured |= "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not (configured or jax.distributed.is_initialized()):
        pairs = config.batch_size // config.grad_accum_steps
        jax.config.update("jax_num_cpu_devices", math.gcd(pairs, num_cores()))
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _KEEP_FREED_MEMORY:
            mallopt(parameter, value)


class FreedMemory:
    """Returns the memory that malloc keeps (`prepare_cpu`) to the kernel when it has grown too far.

    What is allocated between two steps splits the heap, so that some steps find no room in it and
    it grows, by gigabytes in ten steps (docs/performance.md). It may grow by as much as the first
    return gave back, or by a quarter where that is more, before all that is free is returned again.
    """

    def __init__(self):
        self._limit = self._allowance = 0  # bytes

    def limit(self) -> None:
        """Returns freed memory if too much has gathered; call it after every step."""
        resident = _resident_bytes()
        if resident <= self._limit:
            return
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
        left = _resident_bytes()
        self._allowance = self._allowance or max(resident - left, resident // 4)
        self._limit = left + self._allowance


def _resident_bytes() -> int:
    """Returns the memory of this process that is in RAM, in bytes; 0 where Linux does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh with one axis over the devices, ordered by process; by default all devices.

    `put_batch` relies on this order. `jax.make_mesh` orders devices otherwise on TPU pods, and
    does not accept devices of several slices, such as GPUs of several nodes.
    """
    devices = jax.devices() if devices is None else devices
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (_AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(config: TrainConfig, mesh: Mesh) -> None:
    """Raises `InputError` unless each accumulation step of a batch divides over the devices."""
    if config.batch_size % (mesh.size * config.grad_accum_steps):
        steps = config.grad_accum_steps
        parts = f" x {steps} grad_accum_steps" if steps > 1 else ""
        raise InputError(
            f"train.batch_size must be a multiple of {mesh.size} devices{parts}, "
            f"got {config.batch_size}"
        )


def replicated_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of states, variables and metrics: replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of batches: the first axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec(_AXIS))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Copies the first process's arrays to every device, in buffers that a step may donate."""
    sharding = replicated_sharding(mesh)

    def copies(leaf: Any) -> jax.Array:
        # One copy per device: on CPU a jax array may share a numpy array's memory.
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda _: leaf.copy())

    return jax.tree.map(copies, multihost_utils.broadcast_one_to_all(tree))


def put_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Assembles the global batch on the devices from each process's local batch.

    Args:
        mesh: the mesh that `make_mesh` returned.
        batch: this process's share, as numpy arrays; all processes have shares of the same size.

    Returns:
        The global batch, in the order of the processes, sharded by `batch_sharding`.
    """
    sharding = batch_sharding(mesh)
    return Batch(*(jax.make_array_from_process_local_data(sharding, array) for array in batch))


def jit_train_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Jits a step from (state, batch) to (state, metrics); the input state is donated."""
    everywhere = replicated_sharding(mesh)
    return jax.jit(
        step,
        in_shardings=(everywhere, batch_sharding(mesh)),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def jit_eval_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Jits a step from (variables, batch) to results that are replicated on every device."""
    everywhere = replicated_sharding(mesh)
    return jax.jit(step, in_shardings=(everywhere, batch_sharding(mesh)), out_shardings=everywhere)


def any_process(flag: bool, step: int) -> bool:
    """Returns whether the flag is set in any process of the run, the same in all processes.

    A signal may reach only some processes, but all must stop after the same step. With several
    processes the flags are gathered at every tenth step only, since that synchronises with the
    devices; at other steps the result is False.

    Args:
        flag: this process's flag.
        step: current step, the same in all processes.
    """
    if jax.process_count() == 1:
        return flag
    if step % _STEPS_TO_AGREE:
        return False
    return bool(_gather(flag).any())


@contextlib.contextmanager
def raise_in_all_processes() -> Iterator[None]:
    """Makes an exception in one process's block raise in all processes at the end of the block.

    Every process must enter it, and no process may wait for another within it.

    Raises:
        InputError: another process failed; its own message says why.
    """
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = _gather(failure is not None)
    if failure is not None:
        raise failure
    if failed.any():
        raise InputError(f"process {failed.argmax()} failed: see its message")


def wait_for_all() -> None:
    """Waits for all processes of the run, so that none exits while another is still working."""
    multihost_utils.sync_global_devices("end of the run")


def _gather(flag: bool) -> Bool[np.ndarray, " processes"]:
    return np.reshape(multihost_utils.process_allgather(np.array(flag)), -1)
