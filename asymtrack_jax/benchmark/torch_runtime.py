"""PyTorch as a contestant: eager, or compiled by TorchInductor (CUDA graphs on a GPU)."""

from typing import Any

import numpy as np
import safetensors.numpy

from asymtrack_jax.benchmark.cell import THREADS, Cell
from asymtrack_jax.benchmark.contest import Entry, first_call
from asymtrack_jax.benchmark.torch_network import Network, torch


def enter(cell: Cell, *, compiled: bool) -> Entry:
    """The network of a cell in PyTorch, on its GPU if it has one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(THREADS)
    full = cell.precision == "highest"
    torch.set_float32_matmul_precision("highest" if full else "high")  # high: TF32 on a GPU
    torch.backends.cudnn.allow_tf32 = not full
    dtype = torch.bfloat16 if cell.precision == "bfloat16" else torch.float32

    weights = safetensors.numpy.load_file(cell.network / "fused.safetensors")
    network: Any = Network(weights, cell.model["num_heads"]).eval().to(device, dtype)
    if compiled:
        options = {"freezing": True, "triton.cudagraphs": device == "cuda"}
        network = torch.compile(network, dynamic=False, options=options)
    template, search = (torch.from_numpy(array).to(device) for array in cell.images())

    def run(*arguments: Any) -> Any:
        with torch.inference_mode():
            result = network(*arguments)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    modulation, init_seconds = first_call(lambda: run(template))
    modulation = tuple(leaf.clone() for leaf in modulation)  # CUDA graphs use their memory again
    (boxes, scores), step_seconds = first_call(lambda: run(search, modulation))
    device_name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    facts = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "device": device_name,
    }
    return Entry(
        calls={"init_template": lambda: run(template), "step": lambda: run(search, modulation)},
        outputs={"boxes": _numpy(boxes), "scores": _numpy(scores)},
        facts=facts,
        measured={
            "init_template": {"first_call_s": init_seconds},
            "step": {"first_call_s": step_seconds},
        },
        device_memory=torch.cuda.max_memory_allocated if device == "cuda" else lambda: None,
    )


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.float().cpu().numpy()
