"""One step on all devices of all hosts: each holds the whole state and a share of the batch.

A jitted step over a mesh means what it means on one device. Its means and the statistics of its
batch norms are those of the whole batch, for XLA gathers what they need.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool

from asymtrack_jax.config import TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.errors import InputError

_AXIS = "data"
# Variables that say how many processes a launcher started. JAX finds out the rest by itself.
_LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_STEPS_TO_AGREE = 10
# A process that fails waits so long at its exit for the others, which wait for it in their next
# step; then JAX ends them all.
_SHUTDOWN_SECONDS = 60


def initialize_distributed(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the processes of a run; one that was started alone stays alone.

    What is not given is taken from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`. If those are not set either, the processes that Slurm, Open MPI or a TPU pod
    with `TPU_WORKER_HOSTNAMES` started find each other. It must come before anything that asks for
    devices.

    Args:
        coordinator: host and port at which process 0 can be reached, such as `10.0.0.1:1234`.
        num_processes: of the run.
        process_id: of this one, from 0.

    Raises:
        InputError: only some of the three are given, or they are no such numbers.
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


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of one axis over all devices of all hosts, or those given, in the processes' order.

    `put_batch` relies on this order. `jax.make_mesh` has others on TPU pods, and refuses devices
    of several slices, such as GPUs of several nodes.
    """
    devices = jax.devices() if devices is None else devices
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (_AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(config: TrainConfig, mesh: Mesh) -> None:
    """Raises `InputError` unless the devices can share each part of a batch evenly."""
    if config.batch_size % (mesh.size * config.grad_accum_steps):
        steps = config.grad_accum_steps
        parts = f" x {steps} grad_accum_steps" if steps > 1 else ""
        raise InputError(
            f"train.batch_size must be a multiple of {mesh.size} devices{parts}, "
            f"got {config.batch_size}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: states, variables, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """A share of the first axis to each device: batches."""
    return NamedSharding(mesh, PartitionSpec(_AXIS))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Copies of the first process's arrays on every device, for a step to overwrite."""
    sharding = replicated(mesh)

    def copies(leaf: Any) -> jax.Array:
        # One copy a device: on CPU a jax array may share a numpy array's memory.
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda _: leaf.copy())

    return jax.tree.map(copies, multihost_utils.broadcast_one_to_all(tree))


def put_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Puts a batch on the devices.

    Args:
        mesh: of the devices.
        batch: this process's share as numpy arrays, as large as every other one's.

    Returns:
        The whole batch, in the order of the processes.
    """
    sharding = split(mesh)
    return Batch(*(jax.make_array_from_process_local_data(sharding, array) for array in batch))


def jit_train_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Compiles (state, batch) to (state, metrics); the state that it takes is spent."""
    everywhere = replicated(mesh)
    return jax.jit(
        step, in_shardings=(everywhere, split(mesh)), out_shardings=everywhere, donate_argnums=0
    )


def jit_eval_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Compiles (variables, batch) to results that every process can read whole."""
    everywhere = replicated(mesh)
    return jax.jit(step, in_shardings=(everywhere, split(mesh)), out_shardings=everywhere)


def any_process(flag: bool, step: int) -> bool:
    """Whether the flag is set in any process of the run; all get the same answer.

    Signals reach some processes only, but all must stop after the same step. Several processes ask
    each other at every tenth step only, since the answer waits for the devices; at other steps it
    is False.

    Args:
        flag: of this process.
        step: at which all processes ask.
    """
    if jax.process_count() == 1:
        return flag
    if step % _STEPS_TO_AGREE:
        return False
    return bool(_gather(flag).any())


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """An exception that the block raises in one process ends all of them after the block.

    Every process enters it; within it none may wait for another.

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
    """Waits until all processes have come here, so that none leaves while another has work."""
    multihost_utils.sync_global_devices("end of the run")


def _gather(flag: bool) -> Bool[np.ndarray, " processes"]:
    return np.reshape(multihost_utils.process_allgather(np.array(flag)), -1)
