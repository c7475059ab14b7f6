"""Packaged configurations, one module each, selected by name with `--config`."""
