"""Results of a tracker that stands still, for tests of pictures."""

import cv2
import numpy as np

from asymtrack_jax.evaluation import report
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.results import ResultFolder
from tests.evaluation.sequences import write_sequences


def make_place(directory):
    """Two sequences, truncated results of a tracker that stands still, a folder for pictures."""
    sequences = write_sequences(directory / "data", {"a": 12, "b": 3})
    (directory / "results").mkdir()
    for sequence in sequences:
        boxes = np.trunc(np.tile(sequence.boxes[0], (len(sequence.boxes), 1)))
        np.savetxt(directory / "results" / f"{sequence.name}.txt", boxes, delimiter=",")
    (directory / "pictures").mkdir()
    return directory, sequences


def compare(place, protocol="otb", attributes=None, labels=("still",)):
    root, sequences = place
    folders = [ResultFolder(label, root / "results") for label in labels]
    return report.compare("set", PROTOCOLS[protocol], folders, sequences, attributes=attributes)


def read(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image
