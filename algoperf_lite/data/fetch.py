"""Fetching data sets: from a mirror folder or the network, checked by sha256, all or nothing.

A file appears in the data folder complete and verified, or not at all: it is streamed into a temporary file beside its
place, hashed on the way, synced and renamed. Several files are fetched at once; at the first failure, or Ctrl-C, the
temporary files are removed, and a later fetch goes on with the files that are missing.
"""

import contextlib
import errno
import functools
import gzip
import hashlib
import http.client
import os
import queue
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from algoperf_lite import errors
from algoperf_lite.data.catalog import CATALOG, Dataset, File

_CHUNK = 1 << 20
_WORKERS = 8
_TIMEOUT_S = 30  # without a byte
_SLOWEST = 10_000  # bytes a second, on average over a file, after the first `_TIMEOUT_S`
_WAITS_S = (0.5, 2.0)  # before the second and the third try, where the failure may pass
_TRANSIENT = {429, 500, 502, 503, 504}
_STALE_S = 3600  # a temporary file of that age belongs to a process that was killed
_MIRROR_HINT = "use a copy: algoperf-lite data fetch --mirror DIR"


class _Transient(errors.EnvironmentFault):
    """A failure that another try may not meet."""


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
    require([name])
    if present(name) < len(find(name).files):
        fetch(name)
    return root() / name


def require(names: Iterable[str]) -> None:
    """Raises `EnvironmentFault` with one command that fetches all of the data sets that are absent and in no mirror."""
    if os.environ.get("ALGOPERF_LITE_MIRROR"):
        return
    there = {name: (present(name), len(find(name).files)) for name in dict.fromkeys(names)}
    absent = [name for name, (some, whole) in there.items() if some < whole]
    if absent:
        some, whole = there[absent[0]]
        what = f"data set {absent[0]!r} has {some} of {whole} files" if some else f"data set {absent[0]!r} is not"
        if len(absent) > 1:
            what = f"data sets {', '.join(map(repr, absent))} are not whole"
        them = "them" if len(absent) > 1 else "it"
        raise errors.EnvironmentFault(
            f"{what} in {root()}\n"
            f"  fetch {them}: algoperf-lite data fetch {' '.join(absent)}\n"
            f"  or set ALGOPERF_LITE_MIRROR to a folder that has {them}"
        )


def present(name: str) -> int:
    """How many files of a data set are in place, by size alone: what lies there was verified before it was renamed."""
    folder = str(root())
    return sum(_complete(folder, file) for file in find(name).files)


def fetch(
    name: str, mirror: str | os.PathLike | None = None, progress: Callable[[int, int, int], None] | None = None
) -> Path:
    """Brings a data set's missing files into the data folder and returns its folder.

    Files that are in place are hashed, and fetched again where they are damaged.

    Args:
      name: an entry of the catalog.
      mirror: a folder laid out like the data folder (files may be gzipped, with `.gz` added); default
        `ALGOPERF_LITE_MIRROR`; without either, each file's url.
      progress: called after each file with the number of files fetched, the number to fetch, and the bytes fetched.
    """
    dataset, place = find(name), str(root())
    mirror = mirror or os.environ.get("ALGOPERF_LITE_MIRROR")
    missing = [f for f in dataset.files if not _complete(place, f) or _sha256(root() / f.path) != f.sha256]
    if missing:
        _sweep({(root() / file.path).parent for file in missing})
        if mirror and not Path(mirror).expanduser().is_dir():
            raise errors.EnvironmentFault(
                f"the mirror {mirror} is no folder\n  name another (--mirror, ALGOPERF_LITE_MIRROR), or fetch without one"
            )
        read = functools.partial(_from_mirror, mirror=Path(mirror).expanduser()) if mirror else _from_url
        mend = f"replace it in the mirror {mirror}" if mirror else _again(name)
        _fetch_all(missing, read, mend, progress or (lambda *_: None))
    return root() / name


def verify(name: str) -> None:
    """Hashes every file of a data set; raises `EnvironmentFault` at the first that is missing or wrong."""
    for file in find(name).files:
        place = root() / file.path
        if not place.is_file():
            raise errors.EnvironmentFault(f"{place} is missing\n  fetch it: algoperf-lite data fetch {name}")
        _check(file, place.stat().st_size, _sha256(place), str(place), _again(name))


def find(name: str) -> Dataset:
    """The catalog's entry, or a `UserError` with the nearest name."""
    if name not in CATALOG:
        raise errors.unknown("data set", name, CATALOG)
    return CATALOG[name]


def _complete(folder: str, file: File) -> bool:
    try:
        return os.stat(os.path.join(folder, file.path)).st_size == file.bytes
    except OSError:
        return False


def _again(name: str) -> str:
    return f"fetch it again: algoperf-lite data fetch {name}"


def _sweep(folders: Iterable[Path]) -> None:
    """Removes temporary files that a killed process left."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for left in folder.glob(".*.part"):
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()


class _Stores:
    """Files on their way into the data folder. After `stop` none arrives any more and no temporary file is left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._temporary: set[str] = set()
        self.stopped = threading.Event()

    def stop(self) -> None:
        with self._lock:
            self.stopped.set()
            for left in self._temporary:
                with contextlib.suppress(OSError):
                    os.unlink(left)

    def store(self, file: File, chunks: Iterator[bytes], mend: str) -> None:
        """Writes one file, checked; returns early, with nothing written, once stopped."""
        place = root() / file.path
        temporary = None
        try:
            with self._lock:
                if self.stopped.is_set():
                    return
                place.parent.mkdir(parents=True, exist_ok=True)
                handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".part")
                self._temporary.add(temporary)
            digest, size = hashlib.sha256(), 0
            with open(handle, "wb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    if size > file.bytes:
                        break  # an endless or foreign answer must not fill the disk
                    if self.stopped.is_set():
                        return
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            _check(file, size, digest.hexdigest(), f"what was received for {file.path}", mend)
            with self._lock:
                if not self.stopped.is_set():
                    os.chmod(temporary, 0o644)
                    os.replace(temporary, place)
        except OSError as error:
            mend = "free some space" if error.errno == errno.ENOSPC else "check its permissions"
            raise errors.EnvironmentFault(
                f"cannot write {place}: {error.strerror or error}\n  {mend}, or set ALGOPERF_LITE_DATA to another folder"
            ) from error
        finally:
            if temporary:
                with self._lock:
                    self._temporary.discard(temporary)
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary)
                    with contextlib.suppress(OSError):  # a folder that this failure leaves empty
                        place.parent.rmdir()


def _fetch_all(files: list[File], read: Callable[[File], Iterator[bytes]], mend: str, progress: Callable) -> None:
    """Fetches `files`, several at once; the first failure stops the others and is raised here."""
    stores = _Stores()
    waiting: queue.SimpleQueue[File] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[File, BaseException | None]] = queue.SimpleQueue()
    for file in files:
        waiting.put(file)

    def work() -> None:
        while not stores.stopped.is_set():
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                _try_again(stores, file, read, mend)
                ended.put((file, None))
            except BaseException as error:
                ended.put((file, error))
                return

    # Daemons, since one that waits for a silent server must not hold up the end of the process.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(_WORKERS, len(files)))]
    try:
        for worker in workers:
            worker.start()
        received = 0
        for number in range(1, len(files) + 1):
            file, error = _next(ended)
            if error is not None:
                raise error
            received += file.bytes
            progress(number, len(files), received)
    finally:
        stores.stop()
        until = time.monotonic() + 1
        for worker in workers:
            if worker.ident is not None:
                worker.join(max(0.0, until - time.monotonic()))


def _next(ended: queue.SimpleQueue[tuple[File, BaseException | None]]) -> tuple[File, BaseException | None]:
    """What ended next. A wait without an end can miss an interrupt that comes just before it begins."""
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=0.2)


def _try_again(stores: _Stores, file: File, read: Callable[[File], Iterator[bytes]], mend: str) -> None:
    """Stores one file, with further tries after failures that may pass."""
    for wait in _WAITS_S:
        try:
            return stores.store(file, read(file), mend)
        except _Transient:
            if stores.stopped.wait(wait):
                return
    stores.store(file, read(file), mend)


def _from_mirror(file: File, mirror: Path) -> Iterator[bytes]:
    plain, zipped = mirror / file.path, mirror / f"{file.path}.gz"
    if not plain.is_file() and not zipped.is_file():
        raise errors.EnvironmentFault(f"the mirror {mirror} has no {file.path}\n  accepted: that path, or with .gz")
    try:
        with plain.open("rb") if plain.is_file() else gzip.open(zipped) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise errors.EnvironmentFault(
            f"cannot read {file.path} from the mirror {mirror}: {error}\n  replace it there, or fetch without a mirror"
        ) from error


def _from_url(file: File) -> Iterator[bytes]:
    end = time.monotonic() + _TIMEOUT_S + file.bytes / _SLOWEST
    received, declared = 0, None
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as source:
            length = source.headers.get("Content-Length", "")
            declared = int(length) if length.isdigit() else None
            # read1 comes back with what there is, so that a server of a byte now and then is noticed
            while received != declared and (chunk := source.read1(_CHUNK)):
                received += len(chunk)
                yield chunk
                if time.monotonic() > end:
                    raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()
        raise _answered(file.url, error) from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # of a bad address: ValueError
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise errors.EnvironmentFault(
                f"{file.url} is too slow: {received} of {file.bytes} bytes when the time was up\n"
                f"  try again later, or {_MIRROR_HINT}"
            ) from error
        if isinstance(reason, ConnectionResetError | ConnectionAbortedError | http.client.IncompleteRead):
            raise _cut_off(file, received, declared) from error
        raise errors.EnvironmentFault(
            f"cannot reach {file.url}: {reason or type(reason).__name__}\n  check the network, or {_MIRROR_HINT}"
        ) from error
    if declared is not None and received < declared:
        raise _cut_off(file, received, declared)


def _answered(url: str, error: urllib.error.HTTPError) -> errors.EnvironmentFault:
    """The error for a status that brings no file."""
    if error.code in _TRANSIENT:
        return _Transient(f"{url} answered {error.code} {error.reason}\n  try again later, or {_MIRROR_HINT}")
    if 300 <= error.code < 400:
        return errors.EnvironmentFault(
            f"{url} answered {error.code}: it redirects in a circle, or to what is no web address\n  {_MIRROR_HINT}"
        )
    return errors.EnvironmentFault(f"{url} answered {error.code} {error.reason}\n  {_MIRROR_HINT}")


def _cut_off(file: File, received: int, declared: int | None) -> _Transient:
    return _Transient(
        f"{file.url} was cut off after {received} of {file.bytes if declared is None else declared} bytes\n"
        f"  try again, or {_MIRROR_HINT}"
    )


def _sha256(place: Path) -> str:
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise errors.EnvironmentFault(
            f"cannot read {place}: {error.strerror or error}\n"
            "  check its permissions, or set ALGOPERF_LITE_DATA to another folder"
        ) from error


def _check(file: File, size: int, sha256: str, what: str, mend: str) -> None:
    if size != file.bytes:
        kind = "is truncated" if size < file.bytes else "is too long"
        seen = size if size < file.bytes else f"more than {file.bytes}"
        raise errors.EnvironmentFault(f"{what} {kind}: {seen} bytes, expected {file.bytes}\n  {mend}")
    if sha256 != file.sha256:
        raise errors.EnvironmentFault(f"{what} has sha256\n  {sha256}, expected\n  {file.sha256}\n  {mend}")
