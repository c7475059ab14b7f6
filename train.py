"""`python train.py`: the command `asymtrack train`, from a checkout."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script("train")
