"""Renders the frames of a scene, each independently of the others."""

import functools
import math
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from asymtrack_jax.data.distort import blur_along
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.data.synthetic.motion import MovingObject, Poses, sample_image
from asymtrack_jax.data.synthetic.scene import Scene

_NOISE = 9  # stream of the scene's random numbers
_MAX_BLUR = 0.1  # length of motion blur over the frame's shorter side
_GRAIN, _GRAIN_MARGIN = 40, 64  # standard deviation in grey levels; extra pixels per side
_CHUNK = 128  # frames annotated at once, which bounds the memory


def render(scene: Scene, index: int) -> Frame:
    """Renders the frame at time `index`, uint8 RGB."""
    frame = _background(scene, index)
    for item in (*scene.behind, scene.target, *scene.in_front):
        _draw(frame, item, index, scene.camera.shutter)
    return _expose(frame, scene, index)


class Clip:
    """Frames of a scene, rendered on access, and their ground truth.

    Attributes:
        scene: the scene.
    """

    def __init__(self, scene: Scene, num_frames: int):
        self.scene = scene
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Frame:
        """Renders one frame, uint8 RGB."""
        return render(self.scene, range(len(self))[index])

    @property
    def boxes(self) -> Float64[np.ndarray, "T 4"]:
        """Exact bounding boxes of the target, clipped to the frame, xywh in pixels.

        Occluded parts are included; NaN where the target is outside the frame.
        """
        return self._annotation[0]

    @property
    def visible(self) -> Bool[np.ndarray, " T"]:
        """Whether at least a fifth of the target is visible."""
        return self._annotation[1]

    @functools.cached_property
    def _annotation(self) -> tuple[Float64[np.ndarray, "T 4"], Bool[np.ndarray, " T"]]:
        starts = range(0, len(self), _CHUNK)
        times = [np.arange(start, min(start + _CHUNK, len(self)), dtype=float) for start in starts]
        boxes, visible = zip(*map(self.scene.annotate, times), strict=True)
        return np.concatenate(boxes), np.concatenate(visible)


def _background(scene: Scene, index: int) -> Frame:
    size = np.array(scene.size[::-1])
    now, then = scene.camera(np.array([index, index + 1.0]))[:, :2] * size
    middle = np.array(scene.backdrop.shape[1::-1]) / 2 - 0.5  # OpenCV: integers at pixel centres
    frame = cv2.getRectSubPix(scene.backdrop, scene.size[::-1], (middle + now).tolist())
    return _blurred(frame, scene.camera.shutter * (then - now))  # pyright: ignore[reportArgumentType]


def _draw(frame: Frame, item: MovingObject, index: int, shutter: float) -> None:
    """Draws an object onto the frame, in place."""
    poses = item.poses(np.array([index, index - 0.5, index + 0.5]))
    blur = shutter * (poses.centre[2] - poses.centre[1])
    blur *= min(1.0, _MAX_BLUR * min(frame.shape[:2]) / max(1.0, np.hypot(*blur)))
    poses = Poses(*(values[:1] for values in poses))
    low, high = item.bounds(poses)[0]
    spread = math.ceil(np.abs(blur).max() / 2) + 1
    x1, y1 = np.maximum(np.floor(low) - spread, 0).astype(int)
    x2, y2 = np.minimum(np.ceil(high) + spread, frame.shape[1::-1]).astype(int)
    if x1 >= x2 or y1 >= y2:
        return
    # Pixels outside the frame are needed for the blur.
    y, x = np.mgrid[y1 - spread : y2 + spread, x1 - spread : x2 + spread].astype(np.float32)
    points = np.stack([x.ravel(), y.ravel()])[None] + np.float32(0.5)
    places = item.to_sprite(points, poses).reshape(2, *x.shape)
    patch = _blurred(sample_image(item.sprite.image, *places), blur)[spread:-spread, spread:-spread]
    behind = frame[y1:y2, x1:x2]
    through = cv2.merge([255 - patch[..., 3]] * 3)
    behind[:] = cv2.add(cv2.multiply(behind, through, scale=1 / 255), patch[..., :3])


def _blurred(image: np.ndarray, motion: Float64[np.ndarray, "2"]) -> np.ndarray:
    """Applies motion blur along a displacement in pixels; none below one pixel."""
    return image if math.hypot(*motion) < 1 else blur_along(image, motion)


def _expose(frame: Frame, scene: Scene, index: int) -> Frame:
    """Applies contrast, brightness and noise."""
    contrast, brightness = scene.camera(np.array([float(index)]))[0, 2:]
    rng = np.random.default_rng((*scene.key, index, _NOISE))
    y, x = rng.integers(0, _GRAIN_MARGIN, 2)
    grain = _grain(scene.size)[y:, x:][: scene.size[0], : scene.size[1]]
    gain, noise = math.exp(contrast), scene.camera.noise / _GRAIN
    offset = 128 * (1 - gain - noise) + brightness
    return cv2.addWeighted(frame, gain, grain, noise, offset)  # pyright: ignore[reportReturnType]


@functools.lru_cache(maxsize=2)
def _grain(size: tuple[int, int]) -> Frame:
    """Returns noise larger than the frames, of which every frame uses a random part."""
    height, width = (side + _GRAIN_MARGIN for side in size)
    noise = np.random.default_rng(0).standard_normal((height, width, 3), np.float32)
    return np.clip(np.rint(128 + _GRAIN * noise), 0, 255).astype(np.uint8)
