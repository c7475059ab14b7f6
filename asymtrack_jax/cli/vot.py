"""Serves the VOT toolkit over TraX, its protocol, on standard input and output.

Tracks any number of targets, initialised in any frame, and replies with rectangles whose
`confidence` is the tracker's score (1 in the frame of initialisation). Initial polygons and masks
arrive as bounding boxes, since the server declares rectangles as its only region format.

The toolkit (`pip install vot-toolkit`) may be installed in another environment. Add this to
`trackers.ini` in its workspace, with absolute paths, since the toolkit runs trackers elsewhere:

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
    """Options of `asymtrack vot`.

    Attributes:
        checkpoint: directory of the checkpoint; by default the packaged weights.
    """

    checkpoint: Path = TINY


def main(arguments: Sequence[str]) -> None:
    """Serves until the client ends the session."""
    serve(load(parse(VotOptions, arguments, "vot", __doc__).checkpoint))
