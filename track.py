"""`python track.py`: the command `asymtrack track`, from a checkout."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script("track")
