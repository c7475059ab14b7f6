"""A TraX server (the VOT toolkit's protocol) on standard input and output."""

from pathlib import Path
from typing import Any

import numpy as np

from asymtrack_jax.data.sequences import read_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import Tracker


def serve(model: Model) -> None:
    """Serves the requests of a TraX client until it ends the session.

    Each initialisation replaces all earlier targets; all targets share each step of the network.
    On an error the client gets its message as the reason for the end of the session.

    Raises:
        ModuleNotFoundError: TraX, of the extra [vot], is not installed.
        InputError: an image cannot be read, an initial region is not valid (see `tracker.start`),
            or the client violated the protocol or disconnected.
    """
    try:
        from trax import Image, Region, Server, TraxException
    except ImportError as error:  # also raised by another package of that name
        raise ModuleNotFoundError(f"TraX is not installed: {error}", name="trax") from error

    _compile(model)
    formats = [Region.RECTANGLE], [Image.PATH]
    server = Server(*formats, tracker_name="AsymTrack", multiobject=True)
    try:
        _answer(server, model)
    except Exception as error:
        server.quit(str(error))
        if isinstance(error, TraxException):
            raise InputError(f"the TraX session failed: {error}") from error
        raise
    server.quit()


def _answer(server: Any, model: Model) -> None:
    from trax import Rectangle, TraxStatus

    tracker = Tracker(model)
    while (request := server.wait()).type != TraxStatus.QUIT:
        if request.type == TraxStatus.INITIALIZE:
            tracker = Tracker(model)
        frame = read_frame(Path(request.image["color"].path()))
        found = list(zip(*tracker.update(frame), strict=True)) if tracker.ids else []
        for region, _ in request.objects or ():
            bbox = np.array(region.bounds())
            tracker.add(frame, bbox)
            found.append((bbox, 1.0))
        server.status([(Rectangle.create(*bbox), {"confidence": p}) for bbox, p in found])


def _compile(model: Model) -> None:
    """Compiles before the session starts, since the toolkit times every reply."""
    tracker, blank = Tracker(model), np.zeros((64, 64, 3), np.uint8)
    tracker.add(blank, [16, 16, 32, 32])
    tracker.update(blank)
