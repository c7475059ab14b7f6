"""Packaged configurations, one module each, which `--config` takes by name."""
