"""Fetching data sets: from a mirror folder or the network, checked by sha256, all or nothing.

A file appears in the data folder complete and verified, or not at all: it is streamed into a temporary file beside its
place, hashed on the way, synced and renamed.
"""

import contextlib
import errno
import gzip
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from algoperf_lite import errors
from algoperf_lite.data.catalog import CATALOG, Dataset, File

_CHUNK = 1 << 20
_TIMEOUT_S = 30


def root() -> Path:
    """The data folder: `ALGOPERF_LITE_DATA`, else the user's cache directory."""
    if folder := os.environ.get("ALGOPERF_LITE_DATA"):
        return Path(folder).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "algoperf_lite" / "data"


def path(name: str) -> Path:
    """Folder of a data set whose files are all in place, taken from `ALGOPERF_LITE_MIRROR` where that is set.

    Raises `EnvironmentFault` with the command that fetches it when it is absent; never uses the network.
    """
    dataset = find(name)
    if not all(_complete(file) for file in dataset.files):
        if not os.environ.get("ALGOPERF_LITE_MIRROR"):
            raise errors.EnvironmentFault(
                f"data set {name!r} is not in {root()}\n"
                f"  fetch it: algoperf-lite data fetch {name}\n"
                "  or set ALGOPERF_LITE_MIRROR to a folder that has it"
            )
        fetch(name)
    return root() / name


def fetch(name: str, mirror: str | os.PathLike | None = None) -> Path:
    """Brings a data set's missing files into the data folder and returns its folder.

    Args:
      name: an entry of the catalog.
      mirror: a folder laid out like the data folder (files may be gzipped, with `.gz` added); default
        `ALGOPERF_LITE_MIRROR`; without either, each file's url.
    """
    dataset = find(name)
    mirror = mirror or os.environ.get("ALGOPERF_LITE_MIRROR")
    for file in dataset.files:
        if not _complete(file) or _sha256(root() / file.path) != file.sha256:
            _store(file, _from_mirror(file, Path(mirror).expanduser()) if mirror else _from_url(file), name)
    return root() / name


def verify(name: str) -> None:
    """Hashes every file of a data set; raises `EnvironmentFault` at the first that is missing or wrong."""
    for file in find(name).files:
        place = root() / file.path
        if not place.is_file():
            raise errors.EnvironmentFault(f"{place} is missing\n  fetch it: algoperf-lite data fetch {name}")
        _check(file, place.stat().st_size, _sha256(place), str(place), name)


def find(name: str) -> Dataset:
    """The catalog's entry, or a `UserError` with the nearest name."""
    if name not in CATALOG:
        raise errors.unknown("data set", name, CATALOG)
    return CATALOG[name]


def _complete(file: File) -> bool:
    """Whether a file is in place. By size alone: what lies there was verified before it was renamed."""
    place = root() / file.path
    return place.is_file() and place.stat().st_size == file.bytes


def _store(file: File, chunks: Iterator[bytes], name: str) -> None:
    place = root() / file.path
    temporary = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        digest, size = hashlib.sha256(), 0
        with open(handle, "wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                if size > file.bytes:
                    break  # an endless or foreign answer must not fill the disk
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        _check(file, size, digest.hexdigest(), f"what was received for {file.path}", name)
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except OSError as error:
        mend = "free some space" if error.errno == errno.ENOSPC else "check its permissions"
        raise errors.EnvironmentFault(
            f"cannot write {place}: {error.strerror or error}\n  {mend}, or set ALGOPERF_LITE_DATA to another folder"
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _from_mirror(file: File, mirror: Path) -> Iterator[bytes]:
    plain, zipped = mirror / file.path, mirror / f"{file.path}.gz"
    if not plain.is_file() and not zipped.is_file():
        raise errors.EnvironmentFault(f"the mirror {mirror} has no {file.path}\n  accepted: that path, or with .gz")
    try:
        with plain.open("rb") if plain.is_file() else gzip.open(zipped) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except (OSError, EOFError) as error:
        raise errors.EnvironmentFault(f"cannot read {file.path} from the mirror {mirror}: {error}") from error


def _from_url(file: File) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise errors.EnvironmentFault(
            f"{file.url} answered {error.code} {error.reason}\n  use a copy: algoperf-lite data fetch --mirror DIR"
        ) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise errors.EnvironmentFault(
            f"cannot reach {file.url}: {getattr(error, 'reason', error)}\n"
            "  check the network, or use a copy: algoperf-lite data fetch --mirror DIR"
        ) from error


def _sha256(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(file: File, size: int, sha256: str, what: str, name: str) -> None:
    mend = f"fetch it again: algoperf-lite data fetch {name}"
    if size != file.bytes:
        kind = "is truncated" if size < file.bytes else "is too long"
        seen = size if size < file.bytes else f"more than {file.bytes}"
        raise errors.EnvironmentFault(f"{what} {kind}: {seen} bytes, expected {file.bytes}\n  {mend}")
    if sha256 != file.sha256:
        raise errors.EnvironmentFault(f"{what} has sha256\n  {sha256}, expected\n  {file.sha256}\n  {mend}")
