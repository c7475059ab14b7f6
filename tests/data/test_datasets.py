"""Sources as the configuration names them; what they read is tested with the readers."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import DataConfig, Roots, Synthetic
from asymtrack_jax.data import datasets
from asymtrack_jax.data.datasets import (
    DATASETS,
    open_dataset,
    open_source,
    open_sources,
    shared_frames,
)
from asymtrack_jax.data.index import SequenceIndex
from asymtrack_jax.data.prepare import prepare_frames
from asymtrack_jax.data.records import RecordSource
from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError

FIELDS = {
    "lasot": "lasot",
    "got10k_vot_train": "got10k",
    "got10k_vot_val": "got10k",
    "got10k_train": "got10k",
    "got10k_val": "got10k",
    "coco": "coco",
    "trackingnet": "trackingnet",
    "folder": "folder",
    "folder_train": "folder",
    "folder_val": "folder",
    "tracks": "tracks",
    "stills": "tracks",
}
SPLIT = ("folder_train", "folder_val")
SMALL = DataConfig(synthetic=Synthetic(num_sequences=2, num_frames=20, height=64, width=96))


@pytest.fixture
def root(tmp_path):
    """A folder of one sequence of twenty frames."""
    images = tmp_path / "folder" / "cat" / "img"
    images.mkdir(parents=True)
    for number in range(20):
        cv2.imwrite(str(images / f"{number}.jpg"), np.full((24, 32, 3), 10 * number, np.uint8))
    (images.parent / "groundtruth.txt").write_text(20 * "4,5,6,7\n")
    return tmp_path / "folder"


def config(tmp_path, **roots: Path) -> DataConfig:
    names = {field: tmp_path / "absent" / field for field in FIELDS.values()}
    return DataConfig(roots=Roots(**{**names, **roots}), cache=tmp_path / "cache")


def test_every_data_set_has_a_root(root, tmp_path, monkeypatch):
    def remember(*arguments):
        opened.append(arguments)
        return source

    assert FIELDS.keys() == DATASETS.keys()
    opened, source = [], open_dataset("folder", root)
    monkeypatch.setattr(datasets, "open_dataset", remember)
    data = config(tmp_path)
    for name, field in FIELDS.items():
        open_source(name, data)
        assert opened.pop() == (name, tmp_path / "absent" / field, tmp_path / "cache")


def test_files_and_records_are_one_source(root, tmp_path):
    data = config(tmp_path, folder=root, prepared=tmp_path / "prepared")
    files = open_source("folder", data)
    assert isinstance(files, SequenceIndex)
    assert files.directory is not None
    assert files.directory.parent == tmp_path / "cache"
    prepare_frames(files, "folder", tmp_path / "prepared" / "cats")
    instead = open_source("folder", config(tmp_path, folder=tmp_path / "prepared" / "cats"))
    named = open_source("prepared/cats", data)
    whole = open_source("prepared", config(tmp_path, prepared=tmp_path / "prepared" / "cats"))
    for source in (instead, named, whole):
        assert isinstance(source, RecordSource)
        assert isinstance(source, Source)
        np.testing.assert_array_equal(source.offsets, [0, 20])
        np.testing.assert_array_equal(source.read(7), files.read(7))


def test_a_folder_is_split_by_sequence(root, tmp_path):
    def folders(name: str) -> list[bytes]:
        return open_source(name, data).folders.tolist()  # pyright: ignore

    data = config(tmp_path, folder=root)
    for name in ("folder_train", "folder_val"):
        with pytest.raises(InputError, match="holds one sequence, cat: expected at least two"):
            open_source(name, data)
    for number in range(2, 8):
        shutil.copytree(root / "cat", root / f"dog{number}")
    shutil.copytree(root / "cat", root / "dog10")
    assert folders("folder_val") == [b"cat", b"dog6"]
    assert folders("folder_train") == [b"dog2", b"dog3", b"dog4", b"dog5", b"dog7", b"dog10"]
    everything, train, val = (open_source(name, data) for name in ("folder", *SPLIT))
    assert shared_frames([train], [val]) == []
    first = [str(root / name / "img" / "0.jpg") for name in ("cat", "dog6")]
    assert shared_frames([train, everything], [val]) == first
    synthetic = [open_source("synthetic", SMALL, seed) for seed in (0, 1)]
    assert shared_frames(synthetic[:1], synthetic[1:]) == []


def test_homes_are_found(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = DataConfig(roots=Roots(folder=Path("~/folder")), cache=Path("~/cache"))
    assert open_source("folder", data).read(3).shape == (24, 32, 3)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert len(open_sources(["folder", "folder"], data)) == 2


def test_synthetic_video_has_a_seed(tmp_path):
    train, again, validation = (open_source("synthetic", SMALL, seed=seed) for seed in (0, 0, 1))
    assert isinstance(train, Source)
    np.testing.assert_array_equal(train.read(0), again.read(0))
    assert not np.array_equal(train.read(0), validation.read(0))
    assert len(open_sources(["synthetic"], SMALL)) == 1


def test_all_missing_roots_are_named_at_once(root, tmp_path):
    synthetic = Synthetic(cutouts=tmp_path / "absent" / "things", backgrounds=root)
    data = dataclasses.replace(config(tmp_path, folder=root), synthetic=synthetic)
    with pytest.raises(InputError) as refused:
        open_sources(["lasot", "folder", "got10k_vot_train", "synthetic", "prepared/x"], data)
    absent = tmp_path / "absent"
    assert str(refused.value).splitlines() == [
        "no such folders:",
        f"  {absent / 'lasot'} (config.data.roots.lasot, for 'lasot')",
        f"  {absent / 'got10k'} (config.data.roots.got10k, for 'got10k_vot_train')",
        f"  {absent / 'things'} (config.data.synthetic.cutouts, for 'synthetic')",
        f"  {Path('data/prepared/x')} (config.data.roots.prepared, for 'prepared/x')",
        "without data, train on rendered video: `--config synthetic`",
    ]


def test_errors_name_the_field(root, tmp_path):
    data = config(tmp_path, folder=root, lasot=root)
    with pytest.raises(InputError, match=r"no training sequences in .*\(config\.data\.roots\.laso"):
        open_sources(["folder", "lasot"], data)
    (root / "cat" / "groundtruth.txt").unlink()
    with pytest.raises(
        InputError,
        match=r"cannot read .*groundtruth\.txt: No such file.*\(config\.data\.roots\.folder, for",
    ):
        open_source("folder", data)
    for name in ("lasso", "synthetics", ""):
        with pytest.raises(
            InputError, match=f"unknown dataset '{name}'; there are: lasot, .*prepared/"
        ):
            open_source(name, data)
    with pytest.raises(InputError, match="unknown dataset 'synthetic'; there are: lasot"):
        open_dataset("synthetic", tmp_path)
