"""`python benchmark.py`: the command `asymtrack benchmark`, from a checkout."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script("benchmark")
