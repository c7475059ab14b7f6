"""ONNX Runtime as a contestant, on the files that `export` writes."""

import importlib
from pathlib import Path
from typing import Any

from asymtrack_jax.benchmark.cell import THREADS, Cell
from asymtrack_jax.benchmark.contest import Entry, first_call

onnxruntime: Any = importlib.import_module("onnxruntime")


def enter(cell: Cell) -> Entry:
    """The network of a cell, in float32.

    Inputs and outputs stay where the session runs: nothing is copied between calls.
    """
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    device = "cuda" if gpu else "cpu"
    if gpu and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries, where pip has put them

    def session(path: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        cuda = ("CUDAExecutionProvider", {"use_tf32": int(cell.precision != "highest")})
        providers: list = [cuda] if gpu else []
        opened = onnxruntime.InferenceSession(
            str(path), options, providers=[*providers, "CPUExecutionProvider"]
        )
        if gpu and "CUDAExecutionProvider" not in opened.get_providers():
            raise RuntimeError("its CUDA provider does not start, and it would run on the CPU")
        return opened

    def bind(session: Any, inputs: dict[str, Any]) -> Any:
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, device)
        return binding

    def run(session: Any, binding: Any) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def start(name: str, **inputs: Any) -> tuple[Any, Any]:
        opened = session(cell.network / "onnx" / name)
        binding = bind(opened, inputs)
        run(opened, binding)
        return opened, binding

    template, search = (
        onnxruntime.OrtValue.ortvalue_from_numpy(array, device) for array in cell.images()
    )
    init_template, init_seconds = first_call(lambda: start("init_template.onnx", template=template))
    modulation = _outputs(*init_template)
    step, step_seconds = first_call(lambda: start("step.onnx", search=search, **modulation))
    outputs = {name: value.numpy() for name, value in _outputs(*step).items()}
    return Entry(
        calls={"init_template": lambda: run(*init_template), "step": lambda: run(*step)},
        outputs=outputs,
        facts={"onnxruntime": onnxruntime.__version__, "threads": THREADS, "device": device},
        measured={
            "init_template": {"first_call_s": init_seconds},
            "step": {"first_call_s": step_seconds},
        },
    )


def _outputs(session: Any, binding: Any) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, binding.get_outputs(), strict=True))
