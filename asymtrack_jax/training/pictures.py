"""Images of training pairs with true and predicted boxes."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from asymtrack_jax.boxes import cxcywh_to_xywh, iou
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.video import drawing

_TRUE, _PREDICTED = drawing.TRUE_COLOUR, (255, 140, 0)
_PAPER, _INK = (24, 26, 30), (235, 235, 235)
_GAP = 12
_SIDE = 256  # search crops are shown at least this large
_FONT = cv2.FONT_HERSHEY_SIMPLEX

Image = UInt8[np.ndarray, "H W 3"]


def draw_pairs(batch: Batch, predicted: Float[np.ndarray, "B 4"], num: int = 8) -> Image:
    """Draws the first pairs of a batch: template and search crop, with true and predicted boxes.

    Args:
        batch: pairs, as numpy arrays with uint8 images.
        predicted: predicted boxes, cxcywh in normalised coordinates of the search crop.
        num: maximum number of pairs, two per row.

    Returns:
        An RGB image.
    """
    num = min(num, len(batch.boxes))
    predicted = cxcywh_to_xywh(np.asarray(predicted[:num], np.float64))
    true = batch.boxes[:num].astype(np.float64)
    crops = batch.template[:num], batch.search[:num]
    overlaps = iou(predicted, true)
    tiles = list(map(_draw_pair, *crops, true, predicted, overlaps))
    if num % 2 and num > 1:
        tiles.append(np.full_like(tiles[0], _PAPER))
    grid = np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])
    picture = np.full((len(grid) + _GAP, grid.shape[1] + _GAP, 3), _PAPER, np.uint8)
    picture[_GAP:, _GAP:] = grid
    return picture


def _draw_pair(
    template: Image,
    search: Image,
    true: Float[np.ndarray, "4"],
    predicted: Float[np.ndarray, "4"],
    overlap: float,
) -> Image:
    """Draws one pair: the template above a legend on the left, the search crop on the right."""
    zoom = max(1, -(-_SIDE // len(search)))
    template, search = (_enlarge(image, zoom) for image in (template, search))
    for box, colour in ((true, _TRUE), (predicted, _PREDICTED)):
        drawing.draw_box(search, box * len(search), colour, 2)
    (z, x), left = (len(template), len(search)), len(template) + _GAP
    tile = np.full((x + _GAP, left + x + _GAP, 3), _PAPER, np.uint8)
    tile[:z, :z] = template
    tile[:x, left : left + x] = search
    legend = (("true", _TRUE), ("predicted", _PREDICTED), (f"IoU {overlap:.2f}", _INK))
    for line, (text, colour) in enumerate(legend, start=1):
        origin = (0, z + 8 + 24 * line)
        cv2.putText(tile, text, origin, _FONT, 0.55, colour, 1, cv2.LINE_AA)
    return tile


def _enlarge(image: Image, zoom: int) -> Image:
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)
