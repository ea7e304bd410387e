"""Real MR slices: split by subject, fixed, framed as said; broken folders are refused."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import hippocampus, kspace
from algoperf_lite.tasks import reconstruction

SPLITS = {
    "train": "4e9c565b9abefab6b9ff2e40888e77de9d8a0c29116601429747032c64ef27d1",
    "validation": "9e2e2db4e9b355b4396fcd3f9813923e1707e06211a26fcf8321b8204d9007c0",
    "test": "0b8023beba41a0b301e6dd80811770b2bebda0509b7484ef0f811abe58396532",
}


def _write(path, volume):
    """A single-file NIfTI-1 image of float32."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, volume.ndim, *volume.shape, *[1] * (7 - volume.ndim))
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + volume.astype("<f4").tobytes(order="F"), mtime=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """260 tiny volumes; voxel (0, 0, 0) of the file with index i is the volume's maximum."""
    folder = tmp_path_factory.mktemp("hippocampus")
    (folder / "imagesTr").mkdir()
    rng = np.random.default_rng(0)
    for index in range(260):
        _write(folder / "imagesTr" / f"hippocampus_{index:03}.nii.gz", rng.uniform(1.0, 2.0 + index, (33, 44, 5)))
    return folder


def test_no_subject_is_in_two_splits(folder):
    files = hippocampus.subjects(folder)
    assert {name: len(part) for name, part in files.items()} == {"train": 208, "validation": 26, "test": 26}
    assert len({file for part in files.values() for file in part}) == 260
    assert files["test"][:2] == ["imagesTr/hippocampus_000.nii.gz", "imagesTr/hippocampus_010.nii.gz"]
    assert files["validation"][0] == "imagesTr/hippocampus_001.nii.gz"


def test_slices_are_the_middle_of_the_scaled_volume(tmp_path):
    volume = np.random.default_rng(1).uniform(0.0, 1000.0, (31, 51, 3))
    path = tmp_path / "one.nii.gz"
    _write(path, volume)
    found = hippocampus.slices(path)
    scaled = volume.astype(np.float32) / np.percentile(volume.astype(np.float32), 99.5)
    assert found.shape == (3, 32, 48)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :31], np.moveaxis(scaled[:, 1:49], 2, 0), rtol=1e-6)
    assert np.all(found[:, 31] == 0)


def test_splits(folder):
    data = hippocampus.load(folder, eval_train=16)
    assert {name: len(split["image"]) for name, split in data.items()} == {
        "train": 208 * 5,
        "eval_train": 16,
        "validation": 33,
        "test": 33,
    }
    assert data["validation"]["columns"].shape == (33, 48)
    for name in ("validation", "test"):
        assert data[name]["weight"].sum() == pytest.approx(26)  # as many as subjects
    assert not np.array_equal(data["validation"]["columns"], data["test"]["columns"])
    train = {image.tobytes() for image in data["train"]["image"]}
    assert all(image.tobytes() in train for image in data["eval_train"]["image"])
    assert not any(image.tobytes() in train for name in ("validation", "test") for image in data[name]["image"])


def test_a_missing_volume_is_named(folder, tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "hippocampus_000.nii.gz").touch()
    with pytest.raises(errors.EnvironmentFault, match="holds 1 volumes, expected 260"):
        hippocampus.load(tmp_path, eval_train=4)


def test_a_volume_of_more_dimensions_is_refused(tmp_path):
    path = tmp_path / "four.nii.gz"
    _write(path, np.ones((32, 48, 2, 2)))
    with pytest.raises(errors.EnvironmentFault, match="has 4 dimensions, expected 3"):
        hippocampus.slices(path)


def test_real_splits_are_the_recorded_ones(mirror):
    files = hippocampus.subjects(mirror / "msd_hippocampus")
    found = {name: hashlib.sha256("\n".join(part).encode()).hexdigest() for name, part in files.items()}
    assert found == SPLITS


def test_the_zero_filled_image_is_the_recorded_baseline(mirror):
    split = hippocampus.load(mirror / "msd_hippocampus", eval_train=4)["validation"]
    given = kspace.zero_filled(split["image"], split["columns"])
    assert float(np.mean(reconstruction.ssim(given, split["image"]))) == pytest.approx(BASELINE, abs=5e-4)
    assert split["image"].std(axis=(1, 2)).min() > 0.1


BASELINE = 0.6459
