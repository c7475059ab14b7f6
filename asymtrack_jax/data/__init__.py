"""Videos with annotated targets, from disk or rendered; nothing here needs jax."""
