"""Serves the VOT toolkit: speaks its protocol, TraX, on standard streams.

Follows any number of targets, which may begin in any frame, and answers with rectangles whose
`confidence` is the tracker's score (1 where the target was given). Initial polygons and masks
arrive as their bounding boxes: clients send no others to a server that declares rectangles alone.

The toolkit (`pip install vot-toolkit`) may live in another environment. In its workspace,
`trackers.ini` gets this, with absolute paths, since the toolkit starts trackers elsewhere:

  [AsymTrack]
  label = AsymTrack
  protocol = trax
  command = /ENVIRONMENT/bin/asymtrack vot --checkpoint /CHECKPOINTS/tiny

Then `vot test AsymTrack` tests the connection, and `vot evaluate AsymTrack` runs the experiments.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.tracking.model import load
from asymtrack_jax.tracking.vot import serve
from asymtrack_jax.weights import TINY


@dataclasses.dataclass(frozen=True)
class VotOptions:
    """What to serve.

    Attributes:
        checkpoint: its directory; by default the weights in the package.
    """

    checkpoint: Path = TINY


def main(arguments: Sequence[str]) -> None:
    """Serves until the client ends the session."""
    serve(load(parse(VotOptions, arguments, "vot", __doc__).checkpoint))
