"""Serves a page on which you click targets in a video and watch them being tracked.

  $ asymtrack demo

Open the printed address in a browser. On a machine without a display, forward the port:
`ssh -L 7860:127.0.0.1:7860 HOST`. Nothing is loaded from, or sent to, other machines.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.cli.native import suggest_native_kernels
from asymtrack_jax.tracking.model import load
from asymtrack_jax.weights import TINY


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """Options of `asymtrack demo`.

    Attributes:
        checkpoint: directory of the checkpoint; by default the packaged weights.
        host: address to listen on; 0.0.0.0 lets other machines in, without a password.
        port: port to listen on.
    """

    checkpoint: Path = TINY
    host: str = "127.0.0.1"
    port: int = 7860


def main(arguments: Sequence[str]) -> None:
    """Serves until Ctrl-C."""
    options = parse(DemoOptions, arguments, "demo", __doc__)
    from asymtrack_jax.demo import serve  # needs the extra, which --help does not

    suggest_native_kernels()
    serve(load(options.checkpoint), options.host, options.port)
