"""Readers of the file formats that the data sets come in; NumPy only.

Every reader takes the file and the name of its data set, and raises `EnvironmentFault` with one message, the command that
mends it included, where the file is missing, cut off, of another format or of another size than its header says.
"""

import csv
import gzip
import io
import math
import wave
import zlib
from pathlib import Path

import numpy as np

from algoperf_lite import errors

# IDX type codes (the format of MNIST's files): big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# NIfTI-1 `datatype` codes that scanners and the Medical Segmentation Decathlon use.
_NIFTI_TYPES = {2: "<u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}
_NIFTI_HEADER = 348


def broken(path: Path, dataset: str, what: str) -> errors.EnvironmentFault:
    """The error for a file that cannot be used: `what` completes the sentence that begins with its path."""
    return errors.EnvironmentFault(f"{path} {what}\n  fetch it again: algoperf-lite data fetch {dataset}")


def read_bytes(path: Path, dataset: str) -> bytes:
    """The content of a file, unpacked where its name ends in `.gz`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise broken(path, dataset, "is missing") from error
    except OSError as error:
        raise errors.EnvironmentFault(
            f"cannot read {path}: {error.strerror or error}\n"
            "  check its permissions, or set ALGOPERF_LITE_DATA to another folder"
        ) from error
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise broken(path, dataset, f"is truncated: its gzip data end after {len(content)} bytes") from error
    except gzip.BadGzipFile as error:
        raise broken(path, dataset, f"is not intact gzip: {error}") from error
    except zlib.error as error:
        raise broken(path, dataset, f"is damaged: its gzip data do not unpack ({error})") from error


def idx(path: Path, dataset: str) -> np.ndarray:
    """The array of an IDX file (MNIST's format), gzipped or not, in native byte order.

    The header is two zero bytes, a type code, the number of dimensions, then each dimension as a big-endian uint32.
    """
    content = read_bytes(path, dataset)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or not 1 <= content[3] <= 8:
        raise broken(path, dataset, f"is not an IDX file: it begins with {content[:4]!r}")
    dtype, start = np.dtype(_IDX_TYPES[content[2]]), 4 + 4 * content[3]
    if len(content) < start:
        raise broken(path, dataset, f"is truncated: {len(content)} bytes, its header alone takes {start}")
    shape = tuple(np.frombuffer(content, ">u4", content[3], 4).tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise broken(path, dataset, f"holds {len(content)} bytes; its header, of shape {shape}, asks for {expected}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def nifti(path: Path, dataset: str) -> np.ndarray:
    """The volume of a single-file NIfTI-1 image, gzipped or not, indexed as its header's dimensions are.

    Values are the stored ones in their own type, or float32 `slope * value + inter` where the header scales them. Layout:
    https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h; little-endian files only.
    """
    content = read_bytes(path, dataset)
    if len(content) < _NIFTI_HEADER:
        raise broken(path, dataset, f"is truncated or not NIfTI-1: {len(content)} bytes, a header takes {_NIFTI_HEADER}")
    size, magic = int(_field(content, "<i4", 0)), content[344:348]
    if size != _NIFTI_HEADER or magic != b"n+1\0":
        raise broken(path, dataset, f"is not little-endian NIfTI-1: header size {size}, magic {magic!r}")
    dimensions = np.frombuffer(content, "<i2", 8, 40).tolist()
    shape = tuple(dimensions[1 : dimensions[0] + 1])
    if not 1 <= dimensions[0] <= 7 or min(shape) < 1:
        raise broken(path, dataset, f"has dimensions {dimensions}; accepted are 1 to 7 of at least 1")
    code = int(_field(content, "<i2", 70))
    if code not in _NIFTI_TYPES:
        raise broken(path, dataset, f"has datatype {code}; accepted are {', '.join(map(str, _NIFTI_TYPES))}")
    dtype, offset = np.dtype(_NIFTI_TYPES[code]), float(_field(content, "<f4", 108))
    count = math.prod(shape)
    if not offset >= _NIFTI_HEADER or offset + count * dtype.itemsize != len(content):
        raise broken(
            path,
            dataset,
            f"holds {len(content)} bytes; its header, of shape {shape}, "
            f"asks for {offset:g} and {count * dtype.itemsize} of data",
        )
    volume = np.frombuffer(content, dtype, count, int(offset)).reshape(shape, order="F")
    slope, inter = float(_field(content, "<f4", 112)), float(_field(content, "<f4", 116))
    if slope == 0 or not math.isfinite(slope) or (slope, inter) == (1, 0):
        return volume.astype(dtype.newbyteorder("="))
    return volume.astype(np.float32) * np.float32(slope) + np.float32(inter)


def wav(path: Path, dataset: str) -> tuple[np.ndarray, int]:
    """The samples [N] of a mono 16-bit PCM file as float32 in [-1, 1), and the sampling rate in Hz."""
    content = read_bytes(path, dataset)
    try:
        with wave.open(io.BytesIO(content)) as file:
            form, rate, length = (file.getnchannels(), file.getsampwidth()), file.getframerate(), file.getnframes()
            frames = file.readframes(length)
    except (wave.Error, EOFError, RuntimeError, ValueError) as error:  # RuntimeError: a chunk reaches beyond the file
        raise broken(path, dataset, f"is not an intact wav file: {str(error) or 'it ends within a chunk'}") from error
    if form != (1, 2):
        raise broken(path, dataset, f"has {form[0]} channels of {8 * form[1]} bits; accepted is one of 16 bits")
    if len(frames) != 2 * length:
        raise broken(path, dataset, f"is truncated: {len(frames)} bytes of samples, its header asks for {2 * length}")
    return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(1 << 15), rate


def table(path: Path, dataset: str, delimiter: str = ",", *, columns: int | None = None, skip: int = 0) -> list[list[str]]:
    """The rows of a text table (UTF-8, quoted by `"`), gzipped or not; a header, where there is one, is the first row.

    Args:
      path: the file.
      dataset: its data set.
      delimiter: what parts two fields; blanks after it are dropped.
      columns: number of fields in every row; default that of the first row.
      skip: lines left out at the beginning. Empty lines are left out everywhere.
    """
    content = read_bytes(path, dataset)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise broken(path, dataset, f"is not a text table: byte {error.start} is not UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows = []
    try:
        for row in reader:
            if reader.line_num <= skip or not row:
                continue
            columns = columns or len(row)
            if len(row) != columns:
                raise broken(path, dataset, f"line {reader.line_num}: {len(row)} fields, expected {columns}")
            rows.append(row)
    except csv.Error as error:
        raise broken(path, dataset, f"line {reader.line_num}: {error}") from error
    if not rows:
        raise broken(path, dataset, "holds no rows")
    return rows


def _field(content: bytes, dtype: str, offset: int) -> np.generic:
    return np.frombuffer(content, dtype, 1, offset)[0]
