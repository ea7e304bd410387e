"""All or nothing, from a mirror and from a server on this machine; every error says what to do."""

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from algoperf_lite import cli, errors
from algoperf_lite.data import catalog, fetch
from tests.conftest import subprocess_env

CONTENT = b"To be, or not to be" * 1000


def entry_of(contents, url="http://127.0.0.1:9"):
    """A catalog entry `toy` with the given files, each at `url`."""
    files = [
        catalog.File(f"toy/{name}", len(content), hashlib.sha256(content).hexdigest(), f"{url}/{name}")
        for name, content in contents.items()
    ]
    return catalog.Dataset("toy", "a toy", "none", "here", tuple(files))


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A catalog of one data set `toy` with one file, and an empty data folder."""
    entry = entry_of({"text.txt": CONTENT})
    monkeypatch.setattr(catalog, "CATALOG", {"toy": entry})
    monkeypatch.setattr(fetch, "CATALOG", catalog.CATALOG)
    monkeypatch.setattr(fetch, "_WAITS_S", (0.01, 0.02))
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


class Server(http.server.ThreadingHTTPServer):
    """Answers with `answer(handler)`; keeps the paths asked for. `over` is set when the test ends."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.asked.append(self.path)
                answer(self)

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.over = [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that goes away is part of the tests."""


@pytest.fixture
def serve(monkeypatch, toy):
    """Starts a server and makes it the home of `toy`'s files: (answer, contents) -> server."""
    servers = []

    def start(answer, contents=None):
        server = Server(answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        monkeypatch.setitem(fetch.CATALOG, "toy", entry_of(contents or {"text.txt": CONTENT}, server.url))
        return server

    yield start
    for server, thread in servers:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler, body=CONTENT, status=200, length=None, **headers):
    """One answer, with a declared length that may be wrong."""
    handler.send_response(status)
    for name, value in {"Content-Length": len(body) if length is None else length, **headers}.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def reset(handler, *_):
    """Ends the connection by RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def stall(handler, body=CONTENT[:500]):
    """Sends a part, then nothing."""
    send(handler, body, length=len(CONTENT))
    handler.server.over.wait(20)


def in_turn(*answers):
    """Each answer once, then the last one for ever."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def left_behind():
    return sorted(p.name for p in fetch.root().rglob("*") if p.is_file())


# --------------------------------------------------------------------------------------------------------- the mirror


def test_several_absent_sets_are_one_message_with_one_command(toy, monkeypatch):
    monkeypatch.setattr(fetch, "CATALOG", {"toy": toy, "other": entry_of({"b.txt": CONTENT})})
    with pytest.raises(
        errors.EnvironmentFault, match=r"'toy', 'other' are not whole(.|\n)*algoperf-lite data fetch toy other\n"
    ):
        fetch.require(["toy", "other", "toy"])
    with pytest.raises(
        errors.EnvironmentFault, match=r"data set 'other' is not in(.|\n)*fetch it: algoperf-lite data fetch other\n"
    ):
        fetch.require(["other"])
    monkeypatch.setenv("ALGOPERF_LITE_MIRROR", "anywhere")
    fetch.require(["toy"])


def test_absent_data_name_the_command(toy):
    with pytest.raises(errors.EnvironmentFault, match=r"'toy' is not in .*\n.*algoperf-lite data fetch toy"):
        fetch.path("toy")


@pytest.mark.parametrize(("name", "content"), [("text.txt", CONTENT), ("text.txt.gz", gzip.compress(CONTENT, mtime=0))])
def test_from_a_mirror(toy, mirror_of, name, content):
    folder = fetch.fetch("toy", mirror_of(content, name))
    assert (folder / "text.txt").read_bytes() == CONTENT
    assert left_behind() == ["text.txt"]
    fetch.verify("toy")
    assert fetch.path("toy") == folder


def test_path_uses_the_mirror_of_the_environment(toy, mirror_of, monkeypatch):
    monkeypatch.setenv("ALGOPERF_LITE_MIRROR", str(mirror_of(CONTENT)))
    assert (fetch.path("toy") / "text.txt").read_bytes() == CONTENT


DAMAGED = bytearray(gzip.compress(CONTENT, mtime=0))
DAMAGED[20:40] = b"\xff" * 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.txt", CONTENT[:-1], f"truncated: {len(CONTENT) - 1} bytes, expected {len(CONTENT)}\n  replace it in"),
        ("text.txt", CONTENT + b"!", "too long"),
        ("text.txt", CONTENT[:-1] + b"!", hashlib.sha256(CONTENT).hexdigest()),
        ("text.txt", CONTENT[:-1] + b"!", hashlib.sha256(CONTENT[:-1] + b"!").hexdigest()),
        ("text.txt.gz", gzip.compress(CONTENT, mtime=0)[:-20], "cannot read toy/text.txt"),
        ("text.txt.gz", bytes(DAMAGED), "cannot read toy/text.txt"),
        ("text.txt.gz", CONTENT, "cannot read toy/text.txt.*\n  replace it there, or fetch without a mirror"),
        ("other.txt", CONTENT, "has no toy/text.txt"),
    ],
)
def test_a_bad_mirror_leaves_nothing_behind(toy, mirror_of, name, content, message):
    with pytest.raises(errors.EnvironmentFault, match=message):
        fetch.fetch("toy", mirror_of(content, name))
    assert left_behind() == []


def test_a_mirror_that_is_no_folder_is_said_so_and_leaves_no_folder(toy, tmp_path):
    with pytest.raises(errors.EnvironmentFault, match="absent is no folder"):
        fetch.fetch("toy", mirror=tmp_path / "absent")
    assert not fetch.root().exists() or not any(fetch.root().iterdir())


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


def test_a_full_disk(toy, mirror_of, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.EnvironmentFault, match=r"No space left on device\n.*free some space"):
        fetch.fetch("toy", mirror_of(CONTENT))
    assert left_behind() == []


def test_what_a_killed_fetch_left_is_removed_by_the_next(toy, mirror_of):
    folder = fetch.root() / "toy"
    folder.mkdir(parents=True)
    for name, age in ((".text.txt.a.part", 2 * fetch._STALE_S), (".text.txt.b.part", 0)):
        (folder / name).write_bytes(CONTENT[:9])
        os.utime(folder / name, (time.time() - age,) * 2)
    fetch.fetch("toy", mirror_of(CONTENT))
    assert left_behind() == [".text.txt.b.part", "text.txt"]  # the second may be at work


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(errors.UserError, match="did you mean 'tinyshakespeare'"):
        fetch.fetch("tinyshakespear")


# --------------------------------------------------------------------------------------------------------- the network


def test_from_a_server(serve):
    server = serve(send)
    assert (fetch.fetch("toy") / "text.txt").read_bytes() == CONTENT
    assert fetch.fetch("toy") == fetch.path("toy")
    assert server.asked == ["/text.txt"]
    assert (os.stat(fetch.root() / "toy" / "text.txt").st_mode & 0o777) == 0o644


def test_a_redirect_is_followed(serve):
    def answer(handler):
        if handler.path == "/text.txt":
            send(handler, b"", 302, Location="/elsewhere")
        else:
            send(handler)

    server = serve(answer)
    assert (fetch.fetch("toy") / "text.txt").read_bytes() == CONTENT
    assert server.asked == ["/text.txt", "/elsewhere"]


@pytest.mark.parametrize(
    ("answer", "message", "tries"),
    [
        (lambda h: send(h, b"gone", 404), r"answered 404 Not Found\n  use a copy: .* --mirror DIR$", 1),
        (lambda h: send(h, CONTENT[:500]), f"truncated: 500 bytes, expected {len(CONTENT)}\n  fetch it again", 1),
        (lambda h: send(h, CONTENT + b"!"), "is too long", 1),
        (lambda h: send(h, b"x" * len(CONTENT)), r"has sha256\n  [0-9a-f]{64}, expected\n  [0-9a-f]{64}\n  fetch it", 1),
        (lambda h: send(h, CONTENT[:500], length=len(CONTENT)), f"was cut off after 500 of {len(CONTENT)} bytes", 3),
        (lambda h: send(h, b"", 503), r"answered 503 Service Unavailable\n  try again later, or use a copy", 3),
        (reset, "was cut off after 0 of", 3),
        (lambda h: send(h, b"", 302, Location="file:///etc/hosts"), "answered 302: it redirects in a circle, or", 1),
        (lambda h: h.wfile.write(b"not HTTP\r\n\r\n"), "cannot reach ", 1),
    ],
    ids=["404", "shorter", "longer", "sha256", "cut off", "503", "reset", "to a file", "not HTTP"],
)
def test_a_bad_server_leaves_nothing_behind(serve, answer, message, tries):
    server = serve(answer)
    with pytest.raises(errors.EnvironmentFault, match=message):
        fetch.fetch("toy")
    assert left_behind() == []
    assert len(server.asked) == tries


def test_redirects_in_a_circle_are_reported(serve):
    server = serve(lambda handler: send(handler, b"", 302, Location=handler.path))
    with pytest.raises(errors.EnvironmentFault, match="answered 302: it redirects in a circle"):
        fetch.fetch("toy")
    assert left_behind() == []
    assert 1 < len(server.asked) < 20


@pytest.mark.parametrize("bad", [lambda h: send(h, b"", 502), reset, lambda h: send(h, CONTENT[:500], length=len(CONTENT))])
def test_a_failure_that_passes_is_tried_again(serve, bad):
    server = serve(in_turn(bad, bad, send))
    assert (fetch.fetch("toy") / "text.txt").read_bytes() == CONTENT
    assert len(server.asked) == 3
    assert left_behind() == ["text.txt"]


@pytest.mark.parametrize("part", [b"", CONTENT[:500]])
def test_a_silent_server_is_given_up(serve, part, monkeypatch):
    monkeypatch.setattr(fetch, "_TIMEOUT_S", 0.2)
    serve(lambda handler: stall(handler, part))
    with pytest.raises(errors.EnvironmentFault, match=rf"too slow: {len(part)} of {len(CONTENT)} bytes.*\n.*--mirror"):
        fetch.fetch("toy")
    assert left_behind() == []


def test_a_server_that_drips_is_given_up(serve, monkeypatch):
    def drip(handler):
        send(handler, b"", length=len(CONTENT))
        with contextlib.suppress(OSError):
            handler.wfile.write(b"T")
            while not handler.server.over.wait(0.03):
                handler.wfile.write(b"T")

    monkeypatch.setattr(fetch, "_TIMEOUT_S", 0.6)
    monkeypatch.setattr(fetch, "_SLOWEST", 1e6)
    serve(drip)
    with pytest.raises(errors.EnvironmentFault, match=r"too slow: [1-9]\d* of"):
        fetch.fetch("toy")
    assert left_behind() == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://["])
def test_no_network(toy, url, monkeypatch):
    monkeypatch.setitem(fetch.CATALOG, "toy", entry_of({"text.txt": CONTENT}, url))
    with pytest.raises(errors.EnvironmentFault, match=rf"cannot reach {re.escape(url)}/text\.txt: \S.*\n.*--mirror"):
        fetch.fetch("toy")
    assert left_behind() == []


# ---------------------------------------------------------------------------------------------------------- many files

MANY = {f"{i:02d}.txt": b"%d" % i * 100 for i in range(40)}


def of_many(handler):
    send(handler, MANY[handler.path[1:]])


def test_many_files_come_several_at_once(serve):
    together = threading.Barrier(fetch._WORKERS)

    def answer(handler):
        together.wait(10)  # broken, and so an error, unless all workers ask at the same time
        of_many(handler)

    server, seen = serve(answer, MANY), []
    folder = fetch.fetch("toy", progress=lambda *numbers: seen.append(numbers))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == MANY
    assert len(server.asked) == 40
    assert [number for number, _, _ in seen] == list(range(1, 41))
    assert seen[-1] == (40, 40, sum(map(len, MANY.values())))


def test_one_bad_file_of_many_is_named_and_the_others_are_kept(serve):
    bad = True

    def answer(handler):
        if handler.path == "/17.txt" and bad:
            send(handler, b"", 404)
        else:
            of_many(handler)

    server = serve(answer, MANY)
    with pytest.raises(errors.EnvironmentFault, match=r"/17\.txt answered 404"):
        fetch.fetch("toy")
    there = left_behind()
    assert "17.txt" not in there
    assert all((fetch.root() / "toy" / name).read_bytes() == MANY[name] for name in there)  # KeyError: a partial file
    with pytest.raises(errors.EnvironmentFault, match=f"'toy' has {len(there)} of 40 files"):
        fetch.path("toy")
    bad = False
    server.asked.clear()
    fetch.fetch("toy")
    assert sorted(server.asked) == sorted(f"/{name}" for name in MANY if name not in there)
    fetch.verify("toy")


def test_a_failure_does_not_wait_for_silent_neighbours(serve):
    def answer(handler):
        if handler.path == "/03.txt":
            handler.server.over.wait(0.2)
            send(handler, b"", 404)
        else:
            stall(handler, b"1")

    serve(answer, MANY)
    start = time.monotonic()
    with pytest.raises(errors.EnvironmentFault, match=r"/03\.txt answered 404"):
        fetch.fetch("toy")
    assert time.monotonic() - start < 5
    assert left_behind() == []


def test_an_interrupt_leaves_whole_files_only(serve):
    main = threading.main_thread()

    def answer(handler):
        if int(handler.path[1:3]) < 10:
            of_many(handler)
            return
        if handler.path == "/10.txt":
            threading.Timer(0.2, signal.pthread_kill, (main.ident, signal.SIGINT)).start()
        stall(handler, b"1")

    serve(answer, MANY)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("toy")
    assert time.monotonic() - start < 5
    assert set(left_behind()) <= {name for name in MANY if name < "10"}
    assert len(left_behind()) > 0


def test_path_of_three_thousand_files_is_quick(monkeypatch, tmp_path):
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path))
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    for file in catalog.CATALOG["fsdd"].files:
        with open(tmp_path / file.path, "wb") as out:
            out.truncate(file.bytes)
    start = time.process_time()
    assert fetch.path("fsdd") == tmp_path / "fsdd"
    assert time.process_time() - start < 0.2


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def say(capsys):
    """(exit code, stdout, stderr) of `data ...`."""

    def run(*args):
        return cli.main(cli.parser().parse_args(["data", *map(str, args)])), *capsys.readouterr()

    return run


def test_commands_of_a_data_set_from_nothing_to_verified(serve, say):
    serve(send)
    said, _, folder = say("list")[1].partition("folder: ")
    assert said == "toy: absent, 0.0 MiB in 1 file\n  a toy\n  licence: none\n  source: here\n"
    assert folder.startswith(str(fetch.root()))
    assert say("verify")[0] == 3
    place = fetch.root() / "toy"
    assert say("fetch", "toy") == (0, f"toy: fetched, {place}\n", "")
    assert say("fetch", "toy") == (0, f"toy: in place, {place}\n", "")
    assert say("verify", "toy") == (0, f"toy: verified, {place}\n", "")
    code, out, _ = say("list", "--json")
    assert code == 0
    facts = {"description": "a toy", "state": "present", "bytes": len(CONTENT), "files": 1, "licence": "none"}
    assert json.loads(out) == {"toy": {**facts, "source": "here", "folder": str(place)}}


def test_command_that_fails_has_one_message_and_code_three(serve, say, mirror_of):
    serve(lambda handler: send(handler, b"", 404))
    code, out, err = say("fetch")
    assert (code, err) == (3, "")
    assert out.startswith("toy: http://127.0.0.1:")
    assert out.count("\n") == 2
    assert say("fetch", "--mirror", mirror_of(CONTENT))[0] == 0


def test_list_says_how_much_is_there(serve, say):
    serve(lambda handler: of_many(handler) if handler.path < "/05" else send(handler, b"", 404), MANY)
    for name in ("00.txt", "01.txt"):
        (fetch.root() / "toy").mkdir(parents=True, exist_ok=True)
        (fetch.root() / "toy" / name).write_bytes(MANY[name])
    assert "toy: 2 of 40 files present" in say("list")[1]


@pytest.mark.parametrize(
    ("args", "message"), [(["verify", "--json"], "--json goes with `data list`"), (["fetch", "tox"], "toy")]
)
def test_mistake_has_code_two(toy, say, args, message):
    code, out, err = say(*args)
    assert (code, out) == (2, "")
    assert message in err


def test_a_terminal_gets_one_line_of_progress(serve, say, monkeypatch):
    serve(of_many, MANY)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, _, err = say("fetch")
    assert code == 0
    assert "toy: 39 of 40 files, 0.0 MiB" in err
    assert "\n" not in err
    assert err.endswith("\r\033[K")


CHILD = """
import sys
from algoperf_lite import cli
from algoperf_lite.data import catalog, fetch
files = tuple(catalog.File(f"toy/{i}", 10000, "0" * 64, f"{sys.argv[1]}/{i}") for i in range(12))
catalog.CATALOG.clear()
catalog.CATALOG["toy"] = catalog.Dataset("toy", "a toy", "none", "here", files)
sys.exit(cli.main(cli.parser().parse_args(["data", "fetch"])))
"""


def test_ctrl_c_ends_the_command_at_once_with_code_130(serve, tmp_path):
    server = serve(stall)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url],
        env=subprocess_env(ALGOPERF_LITE_DATA=str(tmp_path / "data"), no_proxy="127.0.0.1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    while len(server.asked) < fetch._WORKERS and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=15)
    assert (child.returncode, out, err) == (130, "", "interrupted; the same command goes on where it stopped\n")
    assert [p for p in pathlib.Path(tmp_path / "data").rglob("*") if p.is_file()] == []
