"""A server that speaks TraX, the VOT toolkit's protocol, on standard streams."""

from pathlib import Path
from typing import Any

import numpy as np

from asymtrack_jax.data.sequences import read_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import Tracker


def serve(model: Model) -> None:
    """Answers a TraX client's requests until it ends the session.

    An initialisation may come at any time, and forgets all earlier targets. All targets share each
    step of the network. If anything goes wrong, the client gets the error's message as the reason
    why the session ends.

    Raises:
        ModuleNotFoundError: TraX, of the extra [vot], is not installed.
        InputError: an image cannot be read, the tracker cannot start from an
            initial region, or the client broke the protocol or went away.
    """
    try:
        from trax import Image, Region, Server, TraxException
    except ImportError as error:  # also of another package of that name
        raise ModuleNotFoundError(f"TraX is not installed: {error}", name="trax") from error

    _compile(model)
    formats = [Region.RECTANGLE], [Image.PATH]
    server = Server(*formats, tracker_name="AsymTrack", multiobject=True)
    try:
        _answer(server, model)
    except Exception as error:
        server.quit(str(error))
        if isinstance(error, TraxException):
            raise InputError(f"the TraX session broke off: {error}") from error
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
    """Compiles before the session begins: the toolkit times every reply."""
    tracker, blank = Tracker(model), np.zeros((64, 64, 3), np.uint8)
    tracker.add(blank, [16, 16, 32, 32])
    tracker.update(blank)
