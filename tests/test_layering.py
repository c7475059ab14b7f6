"""The rule of imports: a module imports from its own layer or those below it, in no circle."""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (  # lowest first; every module or a package above it must be named
    tuple(
        f"asymtrack_jax.{name}"
        for name in ("boxes", "compilation", "config", "configs", "errors", "files", "images")
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
        "asymtrack_jax.demo",
    ),
    (
        "asymtrack_jax.__init__",
        "asymtrack_jax.__main__",
        "asymtrack_jax.cli",
        "benchmark",
        "benchmarks",
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
FOLDERS = ("asymtrack_jax", "benchmarks", "configs", "convert_weights", "recipes")
FILES = sorted(
    path
    for pattern in ("*.py", *(f"{folder}/**/*.py" for folder in FOLDERS))
    for path in ROOT.glob(pattern)
)


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def layer(module: str) -> int:
    """The layer that names a module; raises `StopIteration` if none does."""
    if module == "asymtrack_jax":  # else this name would stand for all that is below it
        module = "asymtrack_jax.__init__"
    return next(i for i, packages in enumerate(LAYERS) if any(within(module, p) for p in packages))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path) for path in FILES}


def module_of(imported: str) -> str | None:
    """The module of this repository that an import runs; None for others."""
    while imported and imported not in MODULES:
        imported = imported.rpartition(".")[0]
    return imported or None


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """What a file imports, at its top or within functions, in dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def circle(dependencies: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one twice; nothing if none do."""
    try:
        graphlib.TopologicalSorter(dependencies).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_downwards(path: Path):
    name = name_of(path)
    layer(name)
    for imported in imports(path):
        if (module := module_of(imported)) is not None:
            assert layer(module) <= layer(name), f"{name} imports {imported} from above"
        for package, forbidden in FORBIDDEN.items():
            if within(name, package):
                assert not any(within(imported, f) for f in forbidden), f"{name}: {imported}"


def test_no_modules_import_each_other_in_a_circle():
    dependencies = {name_of(path): {*map(module_of, imports(path))} - {None} for path in FILES}
    assert not circle(dependencies), " -> ".join(circle(dependencies))  # pyright: ignore[reportArgumentType]


def test_circles_and_modules_without_a_layer_are_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    with pytest.raises(StopIteration):
        layer("asymtrack_jax.surprise")
    assert layer("asymtrack_jax") == len(LAYERS) - 1
    assert module_of("asymtrack_jax.errors.InputError") == "asymtrack_jax.errors"
    assert module_of("numpy.random") is None
