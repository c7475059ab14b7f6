"""Trackers other than this package's, by name: OpenCV's, and any class with `init` and `update`."""

import functools
import importlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import cv2
import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError

OPENCV = {
    "csrt": "CSRT",
    "dasiamrpn": "DaSiamRPN",
    "kcf": "KCF",
    "mil": "MIL",
    "nano": "Nano",
    "vit": "Vit",
}


class Tracker(Protocol):
    """Interface of the objects that a factory makes, one per sequence."""

    def init(self, frame: Frame, bbox: Float[np.ndarray, "4"], /) -> Any:
        """Starts on a uint8 RGB frame [H, W, 3] with the target's box, xywh in pixels from 0."""
        ...

    def update(self, frame: Frame, /) -> Any:
        """Finds the target in the next frame: its box, or its box and a score in [0, 1]."""
        ...


Factory = Callable[[], Tracker]


def make_factory(spec: str) -> Factory:
    """Makes the factory that `--tracker` names.

    Args:
        spec: `opencv:NAME?OPTION=VALUE&...` with a name of `OPENCV` and fields of that tracker's
            `Params` in OpenCV, or `MODULE:FACTORY`. The module is imported, on the command
            line from the current folder too; its code runs.

    Raises:
        InputError: there is no such tracker, or it lacks its model files.
    """
    module, _, name = spec.partition(":")
    if not (module and name):
        raise InputError(
            f"--tracker {spec}: expected opencv:NAME, such as opencv:csrt, or MODULE:FACTORY"
        )
    return _opencv(spec, name) if module == "opencv" else _imported(spec, module, name)


def _imported(spec: str, module: str, name: str) -> Factory:
    try:
        factory = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"--tracker {spec}: no module {error.name} in the current folder or installed"
        ) from error
    except AttributeError as error:
        raise InputError(f"--tracker {spec}: {error}") from error
    if not callable(factory):
        raise InputError(f"--tracker {spec}: {name} is {factory!r}, not a class or function")
    return factory  # pyright: ignore[reportReturnType]


def _opencv(spec: str, text: str) -> Factory:
    name, _, query = text.partition("?")
    title = OPENCV.get(name)
    if title is None:
        raise InputError(f"--tracker {spec}: OpenCV's trackers are {', '.join(OPENCV)}")
    create = getattr(cv2, f"Tracker{title}_create", None)
    parameters = getattr(cv2, f"Tracker{title}_Params", None)
    if create is None or parameters is None:
        raise InputError(
            f"--tracker {spec}: this OpenCV ({cv2.__version__}) is built without {title}; "
            "opencv-contrib-python, in the place of opencv-python, has all of them"
        )
    values = parameters()
    fields = {field: getattr(values, field) for field in dir(values) if not field.startswith("_")}
    for field, value in parse_qsl(query, keep_blank_values=True):
        if field not in fields:
            raise InputError(f"--tracker {spec}: no option {field}; options: {', '.join(fields)}")
        fields[field] = _parse(spec, field, value, type(fields[field]))
        setattr(values, field, fields[field])
    paths = {field: value for field, value in fields.items() if str(value).endswith(".onnx")}
    if missing := [field for field, path in paths.items() if not Path(path).is_file()]:
        options = "&".join(f"{field}=PATH" for field in paths)
        raise InputError(
            f"--tracker {spec}: no file {paths[missing[0]]}; name its models as "
            f"opencv:{name}?{options}"
        )
    return lambda: _OpenCV(create(values), scored=bool(paths))


def _parse(spec: str, field: str, text: str, kind: type) -> Any:
    """Parses an option's value as the type of OpenCV's default."""
    try:
        if kind is bool:
            return {"0": False, "1": True, "false": False, "true": True}[text.lower()]
        return tuple(map(float, text.split(","))) if kind is tuple else kind(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"--tracker {spec}: {field}={text}: expected {kind.__name__}") from error


class _OpenCV:
    """An OpenCV tracker with this package's frames and boxes.

    Where it finds no target it gives the last box again. Only networks give scores in [0, 1].
    """

    def __init__(self, tracker: Any, *, scored: bool):
        self._tracker, self._scored = tracker, scored
        self._bbox = np.zeros(4)

    def init(self, frame: Frame, bbox: Float[np.ndarray, "4"]) -> None:
        self._bbox = bbox
        rectangle = np.rint(bbox).astype(int).tolist()  # OpenCV takes integers
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), rectangle)

    def update(self, frame: Frame) -> Float[np.ndarray, "4"] | tuple[Any, float]:
        found, bbox = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if found:
            self._bbox = np.array(bbox, np.float64)
        if self._scored:
            return self._bbox, float(self._tracker.getTrackingScore())
        return self._bbox


class SingleSlot:
    """Follows one video at a time with the trackers of a factory: `runner.Slots` of count 1."""

    count = 1

    def __init__(self, factory: Factory):
        self._factory = factory
        self._tracker: Tracker | None = None

    def start(self, slot: int, frame: Frame, init_bbox: Float[np.ndarray, "4"]) -> None:
        """Makes a tracker and starts it.

        Raises:
            InputError: it raised an exception.
        """
        del slot

        def start() -> None:
            self._tracker = self._factory()
            self._tracker.init(frame, init_bbox)

        _guarded(start)

    def advance(self, frames: Mapping[int, Frame]) -> Mapping[int, tuple[Any, float]]:
        """Returns the box in the next frame, and its score, NaN if the tracker gives none.

        Raises:
            InputError: the tracker raised an exception, or returned something else.
        """
        (slot, frame), tracker = *frames.items(), self._tracker
        assert tracker is not None
        found = _guarded(lambda: tracker.update(frame))
        try:
            bbox, score = found if len(found) == 2 else (found, math.nan)
            return {slot: (np.array(bbox, np.float64).reshape(4), float(score))}
        except (TypeError, ValueError) as error:
            raise InputError(
                f"update returned {found!r}: expected x, y, w, h, or these and a score"
            ) from error


def _guarded(call: Callable[[], Any]) -> Any:
    """Calls a tracker; its exceptions end the sequence, not the run."""
    try:
        return call()
    except Exception as error:
        raise InputError(f"the tracker raised {type(error).__name__}: {error}") from error
