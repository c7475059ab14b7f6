"""Loads configurations: packaged ones by name, or Python files that define `get_config()`."""

import importlib.util
import traceback
from pathlib import Path

from asymtrack_jax.config import Config
from asymtrack_jax.errors import InputError

_PACKAGED = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.py"))}
NAMES = tuple(name for name in _PACKAGED if name not in ("__init__", "loading"))


def load_config(name: str) -> Config:
    """Runs a configuration file and returns what its `get_config()` returns.

    On the command line the file may import modules from the current folder, as those in `recipes/`
    do.

    Args:
        name: name of a packaged configuration, one of `NAMES`, or path of a Python file.

    Raises:
        InputError: there is no such configuration, it raises an error (the message ends with its
            traceback), or its `get_config` is missing or does not return a `Config`.
    """
    path = _PACKAGED[name] if name in NAMES else Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(
            f"--config: there is no configuration {name!r}: give the path of a Python file, or one "
            f"of the packaged names: {', '.join(NAMES)}"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except Exception as error:
        trace = "".join(traceback.format_exception(error, limit=-3)).rstrip()
        raise InputError(f"--config: {path} raised {error!r}:\n{trace}") from error
    if not isinstance(config, Config):
        raise InputError(f"--config: {path} must define get_config(), which returns a Config")
    return config
