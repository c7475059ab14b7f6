"""`python -m convert_weights`: the command `asymtrack convert`, from a checkout."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script("convert")
