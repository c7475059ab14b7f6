"""Configuration files: Python files that define `get_config()`."""

import importlib.util
import traceback
from pathlib import Path

from asymtrack_jax.config import Config
from asymtrack_jax.errors import InputError


def load_config(path: Path) -> Config:
    """Runs a configuration file and returns what its `get_config()` returns.

    Raises:
        InputError: there is no such file, it raises (the message ends with its traceback), or it
            has no such function.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(
            f"--config: there is no configuration file {path}, such as configs/tiny.py"
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
