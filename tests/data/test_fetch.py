"""All or nothing, from a mirror and from a server on this machine; every error says what to do."""

import dataclasses
import gzip
import hashlib
import http.server
import os
import threading

import pytest

from algoperf_lite import errors
from algoperf_lite.data import catalog, fetch

CONTENT = b"To be, or not to be" * 1000


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A catalog of one data set `toy` with one file, and an empty data folder."""
    file = catalog.File("toy/text.txt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "http://127.0.0.1:9/none")
    entry = catalog.Dataset("toy", "a toy", "none", "here", (file,))
    monkeypatch.setattr(fetch, "CATALOG", {"toy": entry})
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ALGOPERF_LITE_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return entry


@pytest.fixture
def mirror_of(tmp_path):
    """Makes a mirror folder that holds the given bytes under the given name."""

    def make(content, name="text.txt"):
        folder = tmp_path / "mirror"
        (folder / "toy").mkdir(parents=True, exist_ok=True)
        (folder / "toy" / name).write_bytes(content)
        return folder

    return make


@pytest.fixture
def serve(monkeypatch, toy):
    """Makes `toy`'s url answer with a status, a body and a declared length."""
    servers = []

    def start(body, status=200, length=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = dataclasses.replace(toy.files[0], url=f"http://127.0.0.1:{server.server_port}/text.txt")
        monkeypatch.setitem(fetch.CATALOG, "toy", dataclasses.replace(toy, files=(file,)))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _left():
    return sorted(p.name for p in fetch.root().rglob("*") if p.is_file())


def test_absent_data_name_the_command(toy):
    with pytest.raises(errors.EnvironmentFault, match="algoperf-lite data fetch toy"):
        fetch.path("toy")


@pytest.mark.parametrize(("name", "content"), [("text.txt", CONTENT), ("text.txt.gz", gzip.compress(CONTENT))])
def test_from_a_mirror(toy, mirror_of, name, content):
    folder = fetch.fetch("toy", mirror_of(content, name))
    assert (folder / "text.txt").read_bytes() == CONTENT
    assert _left() == ["text.txt"]
    fetch.verify("toy")
    assert fetch.path("toy") == folder


def test_path_uses_the_mirror_of_the_environment(toy, mirror_of, monkeypatch):
    monkeypatch.setenv("ALGOPERF_LITE_MIRROR", str(mirror_of(CONTENT)))
    assert (fetch.path("toy") / "text.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.txt", CONTENT[:-1], f"truncated: {len(CONTENT) - 1} bytes, expected {len(CONTENT)}"),
        ("text.txt", CONTENT + b"!", "too long"),
        ("text.txt", CONTENT[:-1] + b"!", hashlib.sha256(CONTENT).hexdigest()),
        ("text.txt", CONTENT[:-1] + b"!", hashlib.sha256(CONTENT[:-1] + b"!").hexdigest()),
        ("text.txt.gz", gzip.compress(CONTENT)[:-20], "cannot read toy/text.txt"),
        ("other.txt", CONTENT, "has no toy/text.txt"),
    ],
)
def test_a_bad_mirror_leaves_nothing_behind(toy, mirror_of, name, content, message):
    with pytest.raises(errors.EnvironmentFault, match=message):
        fetch.fetch("toy", mirror_of(content, name))
    assert _left() == []


def test_a_damaged_file_is_found_and_mended(toy, mirror_of):
    folder = fetch.fetch("toy", mirror_of(CONTENT))
    (folder / "text.txt").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(errors.EnvironmentFault, match="fetch it again"):
        fetch.verify("toy")
    fetch.fetch("toy", mirror_of(CONTENT))
    fetch.verify("toy")


def test_verify_of_a_missing_file(toy):
    with pytest.raises(errors.EnvironmentFault, match="missing"):
        fetch.verify("toy")


def test_from_a_server(serve):
    serve(CONTENT)
    assert (fetch.fetch("toy") / "text.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"body": b"gone", "status": 404}, "answered 404"),
        ({"body": CONTENT[:500], "length": len(CONTENT)}, "truncated"),
        ({"body": b"x" * len(CONTENT)}, "has sha256"),
    ],
)
def test_a_bad_server_leaves_nothing_behind(serve, answer, message):
    serve(**answer)
    with pytest.raises(errors.EnvironmentFault, match=message):
        fetch.fetch("toy")
    assert _left() == []


def test_no_network(toy):
    with pytest.raises(errors.EnvironmentFault, match=r"cannot reach http://127.0.0.1:9/none.*\n.*--mirror"):
        fetch.fetch("toy")
    assert _left() == []


def test_a_full_disk(toy, mirror_of, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.EnvironmentFault, match=r"No space left on device\n.*free some space"):
        fetch.fetch("toy", mirror_of(CONTENT))
    assert _left() == []


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(errors.UserError, match="did you mean 'tinyshakespeare'"):
        fetch.fetch("tinyshakespear")
