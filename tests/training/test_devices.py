import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asymtrack_jax.config import TrainConfig
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import layers
from asymtrack_jax.training import devices
from asymtrack_jax.training.checkpoints import Checkpoints
from asymtrack_jax.training.state import TrainState, create_state
from tests.training.sharded_step import (
    CONFIG,
    arrays,
    batch,
    saved_state,
    start,
    take_step,
)

ROOT = Path(__file__).parents[2]


def launch(directory: Path, process: int, port: int) -> subprocess.Popen:
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(process),
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.training.sharded_step", str(directory)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def step(tmp_path_factory) -> SimpleNamespace:
    """One step on one device, and the same by two processes with four devices each."""
    directory = tmp_path_factory.mktemp("devices")
    with contextlib.closing(Checkpoints(directory / "of_one", CONFIG)) as checkpoints:
        checkpoints.save(saved_state())
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    processes = [launch(directory, process, port) for process in range(2)]
    try:
        with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
            patch.setattr(layers, "depthwise_conv", layers.depthwise_conv_grouped)
            alone = take_step(devices.make_mesh(jax.devices()[:1]), batch())
        for process in processes:
            output, _ = process.communicate(timeout=900)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    leaves, tree = jax.tree.flatten(alone)
    together = []
    for process in range(2):
        with np.load(directory / f"result{process}.npz") as file:
            together.append(jax.tree.unflatten(tree, [file[name] for name in file.files]))
    assert len(leaves) == len(jax.tree.leaves(together[0]))
    return SimpleNamespace(directory=directory, alone=alone, together=together)


def test_eight_devices_of_two_processes_take_the_step_of_one(step):
    """In float64, of which either rounds in an order of its own."""
    (state, metrics), (expected, expected_metrics) = step.together[0], step.alone

    def assert_close(found, expected, scale=1.0) -> None:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-9 * scale), found, expected
        )

    assert_close(metrics, expected_metrics)
    assert_close(state.batch_stats, expected.batch_stats)
    grads, expected_grads = gradients(state), gradients(expected)
    assert_close(grads, expected_grads, float(metrics["grad_norm"]))

    # Adam's first step takes the gradient's sign, which rounding alone decides where there is
    # none: in biases in front of a batch norm.
    def compare(found, expected, grad) -> bool:
        matters = np.abs(grad) > 1e-7 * float(metrics["grad_norm"])
        np.testing.assert_allclose(found[matters], expected[matters], rtol=1e-9, atol=1e-9)
        return matters.any()

    compared = jax.tree.map(compare, state.params, jax.device_get(expected.params), expected_grads)
    leaves = jax.tree.leaves(compared)
    assert sum(leaves) > 0.5 * len(leaves)


def gradients(state: TrainState):
    """Of the step: the first moment that Adam keeps is a tenth of it."""
    groups = jax.device_get(state.opt_state)[1].inner_states
    moments = [groups[name].inner_state[0].mu for name in ("backbone", "head")]

    def merge(param, *moments):
        found = [moment for moment in moments if isinstance(moment, np.ndarray)]
        return 10 * found[0] if found else np.zeros_like(param)

    return jax.tree.map(merge, jax.device_get(state.params), *moments)


def test_all_processes_end_with_the_same_state(step):
    for first, second in zip(*map(jax.tree.leaves, step.together), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_checkpoint_of_eight_devices_is_gone_on_from_on_one(step):
    target = create_state(start(), CONFIG.train)
    with contextlib.closing(Checkpoints(step.directory / "of_eight", CONFIG)) as checkpoints:
        restored = checkpoints.restore(target)
    expected, _ = step.together[0]
    for a, b in zip(arrays(restored), arrays(expected), strict=True):
        np.testing.assert_array_equal(a, b.astype(a.dtype))


@dataclasses.dataclass(frozen=True)
class StandIn:
    """A device of one of several nodes."""

    process_index: int
    id: int
    slice_index: int
    platform: str = "gpu"
    device_kind: str = "stand-in"
    client: None = None


def test_the_mesh_is_in_the_order_of_processes_whatever_their_slices():
    """As JAX lists GPUs of two nodes, of which each is a slice, and a pod's cores out of order."""
    listed = [(1, 5), (0, 2), (1, 4), (0, 3)]
    found = devices.make_mesh([StandIn(process, number, process) for process, number in listed])
    assert found.axis_names == ("data",)
    assert [device.id for device in found.devices] == [2, 3, 4, 5]


def test_what_is_replicated_is_a_copy():
    mesh = devices.make_mesh()
    originals = {"numpy": np.arange(100.0, dtype=np.float32), "jax": jnp.arange(100.0)}
    spend = jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)
    spend(devices.replicate(mesh, originals))
    for original in originals.values():
        np.testing.assert_array_equal(original, np.arange(100.0))


@pytest.mark.parametrize(
    ("batch_size", "parts", "named"), [(12, 1, "8 devices, got 12"), (16, 3, "8 devices x 3")]
)
def test_a_batch_that_does_not_divide_is_refused(batch_size: int, parts: int, named: str):
    mesh = SimpleNamespace(size=8)
    config = TrainConfig(batch_size=batch_size, grad_accum_steps=parts)
    with pytest.raises(InputError, match=f"train.batch_size must be a multiple of {named}"):
        devices.check_batch_size(config, mesh)  # pyright: ignore[reportArgumentType]
    devices.check_batch_size(TrainConfig(batch_size=48, grad_accum_steps=3), mesh)  # pyright: ignore[reportArgumentType]


class TestInitializeDistributed:
    @pytest.fixture
    def calls(self, monkeypatch) -> list[tuple]:
        calls = []
        monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **_: calls.append(args))
        return calls

    def test_one_process_stays_alone(self, calls, monkeypatch):
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
        devices.initialize_distributed()
        assert not calls

    def test_arguments_go_before_the_environment(self, calls, monkeypatch):
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "there:1")
        monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
        monkeypatch.setenv("JAX_PROCESS_ID", "3")
        devices.initialize_distributed()
        devices.initialize_distributed("here:2", process_id=0)
        assert calls == [("there:1", 4, 3), ("here:2", 4, 0)]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("TPU_WORKER_HOSTNAMES", "a,b"),
        ],
    )
    def test_processes_of_a_launcher_find_each_other(self, calls, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        devices.initialize_distributed()
        assert calls == [()]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("here:1", None, None), "JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
            ((None, 2, 0), "set JAX_COORDINATOR_ADDRESS too"),
            (("here:1", 2, 2), "got 2 of 2"),
            (("here", 2, 0), "host:port, got here"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named(self, calls, arguments, message):
        with pytest.raises(InputError, match=message):
            devices.initialize_distributed(*arguments)
        assert not calls


@pytest.mark.parametrize(
    ("batch_size", "grad_accum_steps", "flags", "expected"),
    [
        (16, 1, "", {"jax_num_cpu_devices": 2}),
        (18, 1, "", {"jax_num_cpu_devices": 6}),
        (18, 2, "", {"jax_num_cpu_devices": 3}),
        (18, 1, "--xla_force_host_platform_device_count=3", {}),
    ],
)
def test_cores_become_devices_and_freed_memory_is_kept(
    batch_size: int, grad_accum_steps: int, flags: str, expected: dict, monkeypatch
):
    chosen, kept = {}, []
    libc = SimpleNamespace(mallopt=lambda *setting: kept.append(setting))
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr(devices, "num_cores", lambda: 6)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(devices.jax.config, "update", chosen.__setitem__)
    devices.prepare_cpu(TrainConfig(batch_size=batch_size, grad_accum_steps=grad_accum_steps))
    assert chosen == expected
    assert kept


def test_freed_memory_may_grow_by_as_much_as_the_first_step_left(monkeypatch):
    # Returning leaves 10 units first, then 12; the step that left 20 may leave 12 + 10 later.
    resident = iter([20, 10, 19, 20, 21, 12, 22, 23, 12])
    trims = []
    libc = SimpleNamespace(malloc_trim=trims.append)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(devices, "_resident_bytes", lambda: next(resident))
    memory, after = devices.FreedMemory(), []
    for _ in range(6):
        memory.limit()
        after.append(len(trims))
    assert after == [1, 1, 1, 2, 2, 3]


# In a process of its own, whose allocator may be set.
_FREES_200_MIB = """
import re
from asymtrack_jax.config import TrainConfig
from asymtrack_jax.training import devices

def resident():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[0]) / 2**10

devices.prepare_cpu(TrainConfig())
blocks = [b"x" * 2**20 for _ in range(200)]
full = resident()
del blocks
kept = resident()
devices.FreedMemory().limit()
print(full - kept, full - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_is_kept_until_it_is_returned():
    printed = subprocess.check_output(
        [sys.executable, "-c", _FREES_200_MIB], cwd=ROOT, text=True, timeout=120
    )
    kept, returned = map(float, printed.split())
    assert kept < 20
    assert returned > 180
