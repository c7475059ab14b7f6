"""TrackingNet (Müller et al., ECCV 2018): `TRAIN_<K>/{anno/*.txt, frames/<video>/<N>.jpg}`, `TEST`.

The test set, `TEST`, has the layout of a training set.
"""

from collections.abc import Iterable
from pathlib import Path

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.benchmark import ALL, Selection, only_first, read_each
from asymtrack_jax.data.readers.labels import require_folder, require_image
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence, listed_images, natural_sorted, numbered_images
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected TrackingNet's original layout, TRAIN_0 to TRAIN_11, each with anno/<video>.txt and "
    "frames/<video>/0.jpg and so on"
)
TEST_LAYOUT = (
    "expected TrackingNet's original layout, TEST/anno/<video>.txt and TEST/frames/<video>/0.jpg "
    "and so on"
)
UNREADABLE = frozenset(  # usually left out of training
    {"ceH46gqMWak_0", "ak89dpHVmHc_1", "a3dbdHben-o_2", "p6Rtu645O08_0", "aDxRlCI40wo_0"}
)


def read_test(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the first boxes and lists the images of the 511 test videos.

    The other boxes are withheld by the benchmark, and NaN here unless the folder has them.

    Raises:
        InputError: see `read_each`; a folder is missing.
    """
    annotations = root / "TEST" / "anno"
    require_folder(annotations, TEST_LAYOUT)
    files = {path.stem: path for path in natural_sorted(annotations) if path.suffix == ".txt"}
    return read_each(root, TEST_LAYOUT, files, _read_test, selection)


def _read_test(file: Path) -> Sequence:
    folder = _images_of(file)
    require_image(folder / "0.jpg")
    boxes, images = read_boxes(file), listed_images(folder)
    if len(boxes) != len(images):
        if len(boxes) != 1:
            raise InputError(f"{file} has {len(boxes)} lines for {len(images)} images")
        boxes = only_first(boxes, len(images))
    return Sequence(file.stem, images, boxes)


def parts(root: Path, sets: Iterable[int] = range(12)) -> list[Part]:
    """Lists the videos of training sets, without the unreadable ones.

    The target is visible where its box has area.

    Args:
        root: root folder, which holds `TRAIN_0` to `TRAIN_11`.
        sets: numbers of the training sets.

    Raises:
        InputError: the folders of a set are missing, or hold no annotations.
    """
    found: list[Part] = []
    for number in sets:
        annotations = root / f"TRAIN_{number}" / "anno"
        require_folder(annotations, LAYOUT)
        files = [path for path in natural_sorted(annotations) if path.suffix == ".txt"]
        if not files:
            raise InputError(f"no annotations in {annotations}: {LAYOUT}")
        found += [Part.of([file], _read, file) for file in files if file.stem not in UNREADABLE]
    return found


def _read(file: Path) -> Sequence:
    boxes = read_boxes(file)
    images = numbered_images(_images_of(file), "{}.jpg", range(len(boxes)))
    return Sequence(file.stem, images, boxes)


def _images_of(annotation: Path) -> Path:
    return annotation.parents[1] / "frames" / annotation.stem
