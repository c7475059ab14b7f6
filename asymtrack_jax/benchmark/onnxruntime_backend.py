"""The backend ONNX Runtime, on the ONNX files of `export`."""

import importlib
from typing import Any

from asymtrack_jax.benchmark.case import THREADS, Backend, BenchmarkCase, timed

onnxruntime: Any = importlib.import_module("onnxruntime")


def setup(case: BenchmarkCase) -> Backend:
    """Loads the network of a case, in float32, on the GPU if ONNX Runtime has one.

    Inputs and outputs stay on the session's device: nothing is copied between calls.
    """
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    device = "cuda" if gpu else "cpu"
    if gpu and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA libraries installed by pip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    cuda = ("CUDAExecutionProvider", {"use_tf32": int(case.precision != "highest")})
    providers = [*([cuda] if gpu else []), "CPUExecutionProvider"]

    def start(name: str, inputs: dict[str, Any]) -> tuple[Any, Any]:
        path = str(case.network / "onnx" / f"{name}.onnx")
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        if gpu and "CUDAExecutionProvider" not in session.get_providers():
            raise RuntimeError("its CUDA provider does not start, and it would run on the CPU")
        binding = session.io_binding()
        for input_name, value in inputs.items():
            binding.bind_ortvalue_input(input_name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, device)
        run(session, binding)
        return session, binding

    def run(session: Any, binding: Any) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    template, search = (
        onnxruntime.OrtValue.ortvalue_from_numpy(array, device) for array in case.images()
    )
    init_template, init_s = timed(lambda: start("init_template", {"template": template}))
    modulation = _outputs(*init_template)
    step, step_s = timed(lambda: start("step", {"search": search, **modulation}))
    return Backend(
        functions={"init_template": lambda: run(*init_template), "step": lambda: run(*step)},
        outputs={name: value.numpy() for name, value in _outputs(*step).items()},
        facts={"onnxruntime": onnxruntime.__version__, "threads": THREADS, "device": device},
        measured={"init_template": {"first_call_s": init_s}, "step": {"first_call_s": step_s}},
    )


def _outputs(session: Any, binding: Any) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, binding.get_outputs(), strict=True))
