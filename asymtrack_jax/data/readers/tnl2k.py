"""TNL2K's test set (Wang et al., CVPR 2021): `<sequence>/{imgs/*, groundtruth.txt}`."""

from pathlib import Path

from asymtrack_jax.data.readers.benchmark import ALL, ListedImages, Selection, read_each
from asymtrack_jax.data.readers.labels import require_folder
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence, natural_sorted

LAYOUT = (
    "expected TNL2K's test set in its original layout, <sequence>/imgs/*.jpg (or png) and "
    "<sequence>/groundtruth.txt"
)


def read_sequences(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of every sequence in the folder.

    Raises:
        InputError: see `read_each`.
    """
    require_folder(root, LAYOUT)
    folders = {
        folder.name: folder
        for folder in natural_sorted(root)
        if (folder / "groundtruth.txt").is_file()
    }
    return read_each(root, LAYOUT, folders, _read, selection)


def _read(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    return Sequence(folder.name, ListedImages(folder, "imgs", len(boxes)), boxes)
