"""The notebook runs, and its committed pictures are small and those of a clean run."""

import re
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "tour.ipynb"


def test_the_notebook_runs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # In the checkout's root, so that the kernel imports this package. XLA's flags reach it too.
    resources = {"metadata": {"path": str(ROOT)}}
    client = nbclient.NotebookClient(notebook, timeout=300, resources=resources)
    client.execute()  # raises CellExecutionError
    *_, last = (cell for cell in notebook.cells if cell.cell_type == "code")
    printed = "".join(output.text for output in last.outputs)
    assert printed.endswith("of ONNX Runtime and JAX are within 0.01 pixels: True\n")


def test_the_committed_outputs_are_those_of_one_clean_run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.stat().st_size < 600_000
    assert not re.search(r"(?<![\w.])/(home|tmp|root|Users)/", NOTEBOOK.read_text())
    outputs = [output for cell in cells for output in cell.outputs]
    kinds = {output.get("name", output.output_type) for output in outputs}
    assert kinds == {"stdout", "display_data", "execute_result"}  # no warnings, no errors
