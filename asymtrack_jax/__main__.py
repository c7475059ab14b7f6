"""`python -m asymtrack_jax`: the console command `asymtrack`."""

from asymtrack_jax.cli.main import script

if __name__ == "__main__":
    script()
