"""`python evaluate.py`: the command `asymtrack evaluate`, from a checkout."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script("evaluate")
