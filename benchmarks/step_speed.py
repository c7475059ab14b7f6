"""Times the training step on a CPU, optionally in comparison with the published PyTorch code.

`python -m benchmarks.step_speed --published DIR --torch-python PATH` alternates steps of this
package and of the published repository (github.com/jiawen-zhu/AsymTrack) checked out at DIR, in two
processes, so that other load affects both equally. PATH is a Python interpreter with torch, numpy,
pyyaml and easydict. Linux only.
"""

import argparse
import contextlib
import importlib
import os
import re
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asymtrack_jax.benchmark.case import THREADS
from asymtrack_jax.config import TrainConfig, model_config

Step = Callable[[], Any]


def our_step(variant: str, batch_size: int) -> tuple[Step, str]:
    """Returns a compiled training step, as in `asymtrack train`, and a description."""
    import jax

    from asymtrack_jax.data.augment import Batch
    from asymtrack_jax.models.asymtrack import init_variables
    from asymtrack_jax.training import devices
    from asymtrack_jax.training.state import create_state
    from asymtrack_jax.training.step import make_train_step

    config, recipe = model_config(variant), TrainConfig(batch_size=batch_size)
    devices.prepare_cpu(recipe)
    mesh = devices.make_mesh()
    integers = np.random.default_rng(0).integers
    template, search = (
        integers(0, 256, (batch_size, side, side, 3), np.uint8)
        for side in (config.template_size, config.search_size)
    )
    truth = np.tile(np.array([[0.25, 0.25, 0.5, 0.5]], np.float32), (batch_size, 1))
    batch = devices.put_batch(mesh, Batch(template, search, truth))
    state = devices.replicate(mesh, create_state(init_variables(config, 0), recipe))
    start = time.perf_counter()
    step = devices.jit_train_step(make_train_step(config, recipe), mesh)
    compiled = step.lower(state, batch).compile()
    seconds = time.perf_counter() - start
    freed_memory = devices.FreedMemory()

    def run() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(compiled(state, batch))
        freed_memory.limit()

    flags = os.environ.get("XLA_FLAGS", "")
    facts = f"jax {jax.__version__}, {mesh.size} devices, XLA_FLAGS={flags!r}"
    return run, f"{facts}, compiled in {seconds:.0f} s"


def published_step(variant: str, batch_size: int, checkout: Path) -> tuple[Step, str]:
    """Returns a step of the published network, loss and training loop, and a description."""
    torch: Any = importlib.import_module("torch")

    # Stand-ins for the few names that the network imports from libraries not needed otherwise.
    wanted: dict[str, dict[str, Any]] = {
        "timm.models.layers": {
            "DropPath": torch.nn.Identity,
            "to_2tuple": lambda value: (value, value),
            "trunc_normal_": torch.nn.init.trunc_normal_,
        },
        "timm.models.registry": {"register_model": lambda build: build},
        "torchvision.ops.boxes": {"box_area": lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(1)},
    }
    for name in ("timm", "timm.models", "torchvision", "torchvision.ops", *wanted):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(wanted.get(name, {}))
    torch.Tensor.cuda = lambda self, *_, **__: self  # called by the head unconditionally
    sys.path.insert(0, str(checkout))
    config: Any = importlib.import_module("lib.config.AsymTrack.config")
    box_ops: Any = importlib.import_module("lib.utils.box_ops")

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config.update_config_from_file(checkout / f"experiments/AsymTrack/{variant}.yaml")
    config.cfg.TEST_MODE = True  # no pretrained weights
    network = importlib.import_module("lib.models.AsymTrack").build_asymtrack(config.cfg).train()
    for part in network.modules():
        if hasattr(part, "deploy"):  # TEST_MODE also selects the inference form
            part.deploy = False
    recipe, sizes = TrainConfig(), model_config(variant)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=recipe.weight_decay)
    template, search = (
        torch.randn(batch_size, 3, side, side) for side in (sizes.template_size, sizes.search_size)
    )
    truth = torch.tensor([[0.25, 0.25, 0.75, 0.75]]).repeat(batch_size, 1)

    def run() -> None:
        features = network(images_list=[search, template], mode="backbone")
        boxes = network(xz=features, mode="head")[0]["pred_boxes"]
        corners = box_ops.box_cxcywh_to_xyxy(boxes).view(-1, 4)
        loss = recipe.l1_weight * torch.nn.functional.l1_loss(corners, truth)
        with contextlib.suppress(AssertionError):  # raised for inverted boxes; drops the term
            loss = loss + recipe.giou_weight * box_ops.giou_loss(corners, truth)[0]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimizer.step()

    return run, f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def work(run: Step, facts: str) -> None:
    """Runs one step per line of input, after two untimed ones, and prints the measurements."""
    run()
    run()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak resident memory
    print(facts, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(wall, cpu, int(peak[0]) / 2**20, flush=True)


def main() -> None:
    """Alternates between the processes and prints medians."""
    parser = argparse.ArgumentParser(description="Times the training step on a CPU.")
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--published", type=Path, help="checkout of the published repository")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with torch")
    parser.add_argument("--worker", choices=("ours", "published"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker == "ours":
        return work(*our_step(args.variant, args.batch_size))
    if args.worker == "published":
        return work(*published_step(args.variant, args.batch_size, args.published))

    print(f"{args.variant}, batch {args.batch_size}, float32, {THREADS} cores", flush=True)
    pythons = {"ours": sys.executable}
    if args.published:
        pythons["published"] = args.torch_python
    pipes: dict[str, Any] = {}
    for name, python in pythons.items():
        command = [python, "-m", "benchmarks.step_speed", *sys.argv[1:], "--worker", name]
        pipes[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        print(f"{name}: {pipes[name].stdout.readline().strip()}", flush=True)
    figures: dict[str, list] = {name: [] for name in pipes}
    for _ in range(args.rounds):
        for name, process in pipes.items():
            print(file=process.stdin, flush=True)
            figures[name].append([float(field) for field in process.stdout.readline().split()])
    for name, rows in figures.items():
        (wall, cpu, _), (*_, peak) = np.median(rows, axis=0), np.max(rows, axis=0)
        print(
            f"{name}: median {wall:.3f} s/step ({cpu:.2f} s of CPU time), "
            f"{args.batch_size / wall:.1f} pairs/s, at most {peak:.2f} GiB resident"
        )
    if args.published:
        theirs, ours = (np.median(figures[name], axis=0)[0] for name in ("published", "ours"))
        print(f"ours is {theirs / ours:.2f} times as fast")
    for process in pipes.values():
        process.communicate()


if __name__ == "__main__":
    main()
