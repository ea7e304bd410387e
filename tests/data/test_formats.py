"""Each format is read exactly, and each kind of damage is one message that says how to mend it."""

import gzip
import struct
import wave

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import formats

MEND = r"\n  fetch it again: algoperf-lite data fetch toy$"


@pytest.fixture
def put(tmp_path):
    """Writes bytes under a name and returns the path."""

    def write(content, name):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


# ------------------------------------------------------------------------------------------------------------- bytes


def test_bytes_are_unpacked_by_name(put):
    assert formats.read_bytes(put(b"plain", "a.txt"), "toy") == b"plain"
    assert formats.read_bytes(put(gzip.compress(b"packed", mtime=0), "a.txt.gz"), "toy") == b"packed"


DAMAGED = bytearray(gzip.compress(bytes(range(256)) * 9, mtime=0))
DAMAGED[20:60] = b"\xff" * 40
WRONG_SUM = bytearray(gzip.compress(b"content", mtime=0))
WRONG_SUM[-8] ^= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"content" * 99, mtime=0)[:-9], "is truncated: its gzip data end after"),
        (gzip.compress(b"content", mtime=0)[:5], "is truncated"),
        (b"plain text", "is not intact gzip: Not a gzipped file"),
        (bytes(DAMAGED), "is damaged: its gzip data do not unpack"),
        (bytes(WRONG_SUM), "is not intact gzip: CRC check failed"),
    ],
)
def test_broken_gzip(put, content, message):
    with pytest.raises(errors.EnvironmentFault, match=f"a.gz {message}.*{MEND}"):
        formats.read_bytes(put(content, "a.gz"), "toy")


@pytest.mark.parametrize("reader", [formats.read_bytes, formats.idx, formats.nifti, formats.wav, formats.table])
def test_missing_file_and_folder_in_its_place(reader, tmp_path):
    with pytest.raises(errors.EnvironmentFault, match=f"none is missing{MEND}"):
        reader(tmp_path / "none", "toy")
    with pytest.raises(errors.EnvironmentFault, match=r"cannot read .*: Is a directory"):
        reader(tmp_path, "toy")


# --------------------------------------------------------------------------------------------------------------- idx


def idx_bytes(array, code):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize(("dtype", "code"), [(">u1", 8), (">i2", 11), (">f4", 13)])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 2)])
def test_idx(put, dtype, code, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for name, content in (("a", idx_bytes(array, code)), ("a.gz", gzip.compress(idx_bytes(array, code)))):
        read = formats.idx(put(content, name), "toy")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == np.dtype(dtype[1:])
        assert read.dtype.isnative


GOOD_IDX = idx_bytes(np.zeros((3, 4), np.uint8), 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD_IDX[:-1], r"holds 23 bytes; its header, of shape \(3, 4\), asks for 24"),
        (GOOD_IDX + b"!", "holds 25 bytes"),
        (GOOD_IDX[:9], "is truncated: 9 bytes, its header alone takes 12"),
        (b"\0\0\x07\x01" + GOOD_IDX[4:], "is not an IDX file"),
        (b"<html>404</html>", "is not an IDX file: it begins with b'<htm'"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"!", "is not an IDX file"),
        (b"", "is not an IDX file"),
    ],
)
def test_broken_idx(put, content, message):
    with pytest.raises(errors.EnvironmentFault, match=f"a {message}.*{MEND}"):
        formats.idx(put(content, "a"), "toy")


# ------------------------------------------------------------------------------------------------------------- nifti


def nifti_bytes(volume, code, offset=352, slope=0.0, inter=0.0):
    header = bytearray(offset)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, volume.ndim, *volume.shape, *[1] * (7 - volume.ndim))
    struct.pack_into("<h", header, 70, code)
    struct.pack_into("<3f", header, 108, offset, slope, inter)
    header[344:348] = b"n+1\0"
    return bytes(header) + volume.tobytes(order="F")


VOLUME = np.arange(24).reshape(2, 3, 4)
GOOD_NIFTI = nifti_bytes(VOLUME.astype("<i2"), 4)


@pytest.mark.parametrize(("dtype", "code"), [("<u1", 2), ("<i2", 4), ("<f4", 16)])
@pytest.mark.parametrize("offset", [352, 400])
def test_nifti(put, dtype, code, offset):
    content = nifti_bytes(VOLUME.astype(dtype), code, offset)
    for name, packed in (("a.nii", content), ("a.nii.gz", gzip.compress(content, mtime=0))):
        read = formats.nifti(put(packed, name), "toy")
        np.testing.assert_array_equal(read, VOLUME)
        assert read.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("slope", "inter", "expected"),
    [
        (0.5, -3.0, VOLUME * 0.5 - 3),
        (1.0, 2.0, VOLUME + 2.0),
        (0.0, 9.0, VOLUME),
        (1.0, 0.0, VOLUME),
        (np.nan, 0.0, VOLUME),
    ],
)
def test_nifti_is_scaled_by_its_header(put, slope, inter, expected):
    read = formats.nifti(put(nifti_bytes(VOLUME.astype("<i2"), 4, slope=slope, inter=inter), "a.nii"), "toy")
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == (np.float32 if expected.dtype.kind == "f" else np.int16)


def patched(offset, form, *values):
    content = bytearray(GOOD_NIFTI)
    struct.pack_into(form, content, offset, *values)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD_NIFTI[:-1], r"holds 399 bytes; its header, of shape \(2, 3, 4\), asks for 352 and 48 of data"),
        (GOOD_NIFTI + b"!", "holds 401 bytes"),
        (GOOD_NIFTI[:300], "is truncated or not NIfTI-1: 300 bytes"),
        (patched(0, ">i", 348), "is not little-endian NIfTI-1: header size 1543569408"),
        (patched(344, "<4s", b"ni1\0"), "is not little-endian NIfTI-1: .*magic b'ni1"),
        (patched(40, "<h", 9), r"has dimensions \[9, "),
        (patched(42, "<h", -2), r"has dimensions \[3, -2, "),
        (patched(70, "<h", 128), "has datatype 128; accepted are 2, 4, 8, 16"),
        (patched(108, "<f", np.nan), ".*asks for nan"),
        (patched(108, "<f", 8.0), ".*asks for 8 and"),
    ],
)
def test_broken_nifti(put, content, message):
    with pytest.raises(errors.EnvironmentFault, match=f"a.nii {message}.*{MEND}"):
        formats.nifti(put(content, "a.nii"), "toy")


# --------------------------------------------------------------------------------------------------------------- wav


@pytest.fixture
def wav_bytes(tmp_path):
    """The bytes of a wav file with the given samples."""

    def make(samples, channels=1, width=2):
        with wave.open(str(tmp_path / "source.wav"), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(8000)
            file.writeframes(samples)
        return (tmp_path / "source.wav").read_bytes()

    return make


def test_wav(put, wav_bytes):
    samples = np.array([0, 1, -1, 16384, 32767, -32768], "<i2")
    read, rate = formats.wav(put(wav_bytes(samples.tobytes()), "a.wav"), "toy")
    np.testing.assert_array_equal(read, samples / 32768)
    assert (read.dtype, rate) == (np.float32, 8000)


def test_broken_wav(put, wav_bytes):
    good = wav_bytes(bytes(20))
    for content, message in (
        (good[:-3], "is truncated: 17 bytes of samples, its header asks for 20"),
        (good[:30], "is not an intact wav file"),
        (b"", "is not an intact wav file: it ends within a chunk"),
        (good[:12] + b"LIST\xff\xff\0\0" + good[12:], "is not an intact wav file: it ends within a chunk"),
        (b"OggS" + good[4:], "is not an intact wav file: file does not start with RIFF id"),
        (wav_bytes(bytes(20), channels=2), "has 2 channels of 16 bits; accepted is one of 16 bits"),
        (wav_bytes(bytes(20), width=1), "has 1 channels of 8 bits"),
    ):
        with pytest.raises(errors.EnvironmentFault, match=f"a.wav {message}.*{MEND}"):
            formats.wav(put(content, "a.wav"), "toy")


# ------------------------------------------------------------------------------------------------------------- table


def test_table(put):
    path = put('smiles,label\r\n"C,C",1\r\n\r\nÖ,\r\n'.encode(), "a.csv")
    assert formats.table(path, "toy") == [["smiles", "label"], ["C,C", "1"], ["Ö", ""]]
    assert formats.table(path, "toy", skip=1) == [["C,C", "1"], ["Ö", ""]]
    assert formats.table(put(b"|1x3\n1, ?, >50K.\n", "a.test"), "toy", skip=1) == [["1", "?", ">50K."]]
    assert formats.table(put(gzip.compress(b"a\tb\n", mtime=0), "a.tsv.gz"), "toy", "\t") == [["a", "b"]]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"a,b\n1,2\n3", None, "line 3: 1 fields, expected 2"),
        (b"<html>\n", 2, "line 1: 1 fields, expected 2"),
        (b"a,b\n\xff,2\n", None, "is not a text table: byte 4 is not UTF-8"),
        (b'a,b\n"' + b"x" * 200_000 + b'",2\n', None, "line 2: field larger than field limit"),
        (b"\n\n", None, "holds no rows"),
    ],
)
def test_broken_table(put, content, columns, message):
    with pytest.raises(errors.EnvironmentFault, match=f"a.csv {message}.*{MEND}"):
        formats.table(put(content, "a.csv"), "toy", columns=columns)


# --------------------------------------------------------------------------------------------------------- real files


def test_real_files(mirror):
    labels = formats.idx(mirror / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz", "fashion_mnist")
    assert np.bincount(labels).tolist() == [1000] * 10
    volumes = sorted((mirror / "msd_hippocampus" / "imagesTr").iterdir())[::20]
    for path in volumes:
        image = formats.nifti(path, "msd_hippocampus")
        label = formats.nifti(mirror / "msd_hippocampus" / "labelsTr" / path.name, "msd_hippocampus")
        assert image.shape == label.shape
        assert np.unique(label).tolist() == [0, 1, 2]
        # In the right order neighbours along every axis are alike.
        scaled = image.astype(np.float64) / image.std()
        assert max(np.abs(np.diff(scaled, axis=axis)).mean() for axis in range(3)) < 0.6
    samples, rate = formats.wav(mirror / "fsdd" / "recordings" / "7_jackson_0.wav", "fsdd")
    assert (rate, samples.ndim) == (8000, 1)
    assert 0.01 < np.abs(samples).max() <= 1
    rows = formats.table(mirror / "molecules" / "tox21.csv", "molecules", columns=13)
    assert (len(rows), rows[0][0]) == (7832, "smiles")
    assert len(formats.table(mirror / "adult" / "adult.test.gz", "adult", columns=15, skip=1)) == 16281
