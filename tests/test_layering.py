"""The house's rule: a file imports only from its own layer or from those below it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (  # lowest first; a file belongs to the first prefix that fits
    tuple(
        f"asymtrack_jax.{name}"
        for name in ("boxes", "compilation", "config", "config_files", "errors", "files", "images")
    ),
    ("asymtrack_jax.models", "asymtrack_jax.data", "asymtrack_jax.weights"),
    ("asymtrack_jax.native", "asymtrack_jax.video"),
    ("asymtrack_jax.tracking",),
    (
        "asymtrack_jax.benchmark",
        "asymtrack_jax.evaluation",
        "asymtrack_jax.export",
        "asymtrack_jax.training",
        "asymtrack_jax.convert",
    ),
    (
        "asymtrack_jax",
        "benchmark",
        "configs",
        "convert_weights",
        "evaluate",
        "recipes",
        "track",
        "train",
    ),
)
FORBIDDEN = {  # whatever the layers allow
    "asymtrack_jax.models": ("asymtrack_jax.data",),
    "asymtrack_jax.data": ("asymtrack_jax.models", "jax", "flax"),
    "asymtrack_jax.evaluation.protocols": ("asymtrack_jax.data", "asymtrack_jax.tracking", "jax"),
    "asymtrack_jax.video": ("asymtrack_jax.models", "jax"),
    "asymtrack_jax.convert": ("asymtrack_jax.data", "asymtrack_jax.evaluation", "torch"),
    "asymtrack_jax": ("torch", "tensorflow"),
}
FILES = [
    *ROOT.glob("*.py"),
    *ROOT.glob("configs/*.py"),
    *ROOT.glob("recipes/**/*.py"),
    *ROOT.glob("asymtrack_jax/**/*.py"),
    *ROOT.glob("convert_weights/**/*.py"),
]


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def layer(module: str) -> int:
    return next(i for i, packages in enumerate(LAYERS) if any(within(module, p) for p in packages))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_downwards(path: Path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for imported in imports(path):
        if any(within(imported, p) for p in ("asymtrack_jax", "convert_weights")):
            assert layer(imported) <= layer(name), f"{name} imports {imported} from above"
        for package, forbidden in FORBIDDEN.items():
            if within(name, package):
                assert not any(within(imported, f) for f in forbidden), f"{name}: {imported}"
