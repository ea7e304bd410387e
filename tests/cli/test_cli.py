"""The command line: quick where nothing is computed, and one message with an exit code for every mistake of the user."""

import errno
import json
import re
import resource
import subprocess
import sys

import msgspec
import pytest

from algoperf_lite import cli, registry, storage, trial
from tests import tiny_trial
from tests.conftest import ASSETS, subprocess_env

TINY = str(ASSETS / "tiny.toml")


def call(*args):
    """Exit code of a command, in this process."""
    return cli.main(cli.parser().parse_args([str(a) for a in args]))


@pytest.fixture
def say(capsys):
    """(exit code, stdout, stderr) of a command."""

    def run(*args):
        try:
            code = call(*args)
        except SystemExit as e:
            code = e.code
        return code, *capsys.readouterr()

    return run


# ----------------------------------------------------------------------------------------------------------- startup

QUICK = """
import sys
from algoperf_lite import cli
try:
    cli.main(cli.parser().parse_args(sys.argv[1:]))
except SystemExit:
    pass
heavy = {"jax", "flax", "optax", "numpy", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["list"], ["list", "data", "--json"], ["--version"]])
def test_help_and_list_import_nothing_heavy_and_take_little_processor_time(args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", QUICK, *args], env=subprocess_env(), capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    # Half a second for the user on an idle machine; processor time, since neighbours do not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_module_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "algoperf_lite", "run", "demmo"], env=subprocess_env(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown benchmark 'demmo'; did you mean 'demo'?")
    assert "Traceback" not in done.stderr


def test_every_command_has_help_with_examples(say):
    for command in cli.COMMANDS:
        code, out, _ = say(command, "--help")
        assert code == 0
        assert f"algoperf-lite {command}" in out


# ------------------------------------------------------------------------------------------------ the user's mistakes


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rum", "demo"], "did you mean 'run'?"),
        (["run", "demo", "--sede", "3"], "unrecognized arguments: --sede"),
        (["run", "demmo"], "unknown benchmark 'demmo'; did you mean 'demo'?"),
        (["run", "./none.toml"], "benchmark file not found: ./none.toml"),
        (["run", "demo", "--workloads", "digit_vit"], "unknown workload 'digit_vit'; did you mean 'digits_vit'?"),
        (["run", "demo", "--submissions", "nadam"], "unknown submission 'nadam'; did you mean 'nadamw'?"),
        (["run", "demo", "--submissions", "nadamw,nadamw"], "entrant 'nadamw' is there twice"),
        (["run", "demo", "--submissions", ""], "--submissions is empty"),
        (["run", "demo", "--submissions", "all,lion"], "entrant 'lion' is there twice"),
        (["run", "demo", "--submissions", "./none.py"], "submission file not found: ./none.py"),
        (["run", "demo", "--retry", "errors"], "unknown outcome in --retry 'errors'; did you mean 'error'?"),
        (["run", "demo", "--seed", "-1"], "--seed -1: accepted are 0 to 2147483647"),
        (["run", "demo", "--seed", "one"], "invalid int value: 'one'"),
        (["run", "demo", "--studies", "0"], "--studies 0: accepted are 1 and more"),
        (["run", "demo", "--mesh", "data=16"], "needs 16 devices; this process sees 8 (cpu)"),
        (["run", "demo", "--mesh", "dta=2"], "unknown mesh axis 'dta'; did you mean 'data'?"),
        (["run", "demo", "--devices", "9"], "--devices 9: this process sees 8 (cpu)"),
        (["run", TINY, "--devices", "3"], "workload tiny: batch size 16 does not divide over 3 devices"),
        (["describe", "digits_vti"], "unknown entry 'digits_vti'; did you mean 'digits_vit'?"),
        (["status", "no_such_dir"], "no_such_dir does not exist; accepted: a run directory, such as runs/demo"),
        (["score", "no_such_dir"], "no_such_dir does not exist; accepted: a run directory, such as runs/demo"),
        (["report", "no_such_dir"], "no_such_dir does not exist; accepted: a run directory, such as runs/demo"),
        (["targets", "digits_vit", "--one-run", "learning_rate"], "'learning_rate' is not NAME=VALUE with a finite number"),
        (["targets", "digits_vit", "--one-run", "learning_rate=nan"], "is not NAME=VALUE with a finite number"),
        (["targets", "digits_vit:glu", "--one-run", "learning_rate=1"], "is a variant, its settings are those of its base"),
        (["targets", "digit_vit"], "unknown workload 'digit_vit'; did you mean 'digits_vit'?"),
        (["data", "verify", "tinyshakespear"], "did you mean 'tinyshakespeare'?"),
    ],
    ids=lambda v: " ".join(v).replace(str(ASSETS), "") if isinstance(v, list) else "",
)
def test_mistake_on_the_command_line_is_one_message_with_code_two(args, message, say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = say(*args)
    assert code == 2, (out, err)
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.glob("runs/*/trials")) == []


BOARD = 'name = "b"\nversion = 1\nruleset = "self"\nworkloads = ["tiny.py"]\nsubmissions = ["nadamw"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOARD.replace('"b"', '"b'), "not valid TOML"),
        (BOARD + "stuides = 2\n", "board.toml:6: 'stuides'; did you mean 'studies'?"),
        (BOARD + 'studies = "2"\n', "board.toml:6: Expected `int`, got `str`"),
        (BOARD.replace("tiny.py", "none.py"), "workload file not found: "),
    ],
)
def test_mistake_in_a_benchmark_file_is_one_message_with_file_and_line(text, message, say, tmp_path):
    (tmp_path / "board.toml").write_text(text)
    code, _, err = say("run", tmp_path / "board.toml", "--out", tmp_path / "run")
    assert code == 2
    assert message in err
    assert str(tmp_path) in err


SMOKE_RUN = [
    ("DEFAULTS = {}\n\ndef build(p, h):\n    return 1 / 0\n", "mine.py:12: ZeroDivisionError: division by zero"),
    ("DEFAULTS = {}\n\ndef build(p, h):\n    return 3\n", "build returned int, accepted is an optax.Gradient"),
    ("DEFAULTS = {}\n\ndef build(p, h):\n    return optax.sgd(h['rate'])\n", "must come from SPACE; asked for: 'rate'"),
]


@pytest.mark.parametrize(
    ("body", "message", "more"),
    [
        ("def build(:\n    pass\n", "mine.py:9: not valid Python: ", ["--smoke"]),
        ("DEFAULTS = {}\n", "has no function build(problem, hparams)", ["--smoke"]),
        (
            "def build(p, h):\n    return optax.sgd(0.1)\n",
            "has no DEFAULTS; the self-tuning ruleset runs them",
            ["--smoke"],
        ),
        *[(*each, []) for each in SMOKE_RUN],
    ],
)
def test_mistake_in_a_submission_is_one_message_with_file_and_line(body, message, more, say, tmp_path):
    source = tiny_trial.write_submission(tmp_path, "\n" + body)
    code, out, err = say("run", TINY, *more, "--submissions", source, "--out", tmp_path / "run")
    assert code == 2
    assert message in err, err
    assert source in err
    assert "Traceback" not in err + out


@pytest.mark.parametrize(("body", "message"), SMOKE_RUN)
def test_mistake_that_a_smoke_run_meets_is_the_trials_and_told_with_its_mend(body, message, say, tmp_path):
    source = tiny_trial.write_submission(tmp_path, "\n" + body)
    code, out, err = say("run", TINY, "--smoke", "--submissions", source, "--out", tmp_path / "run")
    assert code == 1
    assert message in out, out
    assert source in out
    assert "Traceback" not in err + out


# -------------------------------------------------------------------------------------------------- a board, end to end


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A finished run directory of the tiny board, the report left out."""
    out = tmp_path_factory.mktemp("board") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "TIME_FACTOR", 1e9)
        assert call("run", TINY, "--out", out, "--mesh", "data=1", "--no-report") == 0
    return out


def _again(board, *more):
    return ["run", TINY, "--out", board, "--mesh", "data=1", "--no-report", *more]


def test_run_again_finds_nothing_to_do(board, say):
    code, out, err = say(*_again(board))
    assert (code, err) == (0, "")
    assert "0 trials to run" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seed", "5"], "has seed 0, this command asks for 5; repeat the command that began it"),
        (["--workloads", "digits_vit"], "has workloads ['tiny'], this command asks for ['digits_vit']"),
        (["--mesh", "data=2"], "has mesh {'data': 1, 'fsdp': 1}, this command asks for {'data': 2, 'fsdp': 1}"),
        (["--smoke"], "has smoke False, this command asks for True"),
        (["--submissions", "aa=adamw"], "has entrant aa with file hash"),
    ],
)
def test_run_that_would_mix_two_boards_is_refused_with_both_values(more, message, board, say):
    code, _, err = say(*_again(board, *more))
    assert code == 2
    assert message in err


def test_dry_run_tells_what_is_missing_and_writes_nothing(board, say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = say("run", TINY, "--mesh", "data=1", "--dry-run")
    assert (code, err) == (0, "")
    assert "4 trials to run on 1 cpu device" in out
    assert "[1/2] nadamw on tiny; " in out
    assert "[2/2] aa on tiny; 0 s to go" in out
    code, out, _ = say("run", TINY, "--mesh", "data=1", "--smoke", "--dry-run", "--json")
    found = json.loads(out)
    assert (code, found["trials"], [r["trials"] for r in found["rows"]]) == (0, 2, [1, 1])
    assert list(tmp_path.iterdir()) == []
    before = sorted(board.rglob("*"))
    assert "0 trials to run" in say(*_again(board), "--dry-run")[1]
    code, _, err = say(*_again(board), "--dry-run", "--seed", "5")
    assert (code, sorted(board.rglob("*"))) == (2, before)
    assert "has seed 0, this command asks for 5" in err


def test_run_in_a_directory_of_a_newer_version_is_refused(say, tmp_path, board):
    content = msgspec.json.decode((board / "benchmark.json").read_bytes())
    (tmp_path / "benchmark.json").write_bytes(msgspec.json.encode({**content, "format": 99}))
    for args in (_again(tmp_path), ["status", tmp_path], ["score", tmp_path], ["report", tmp_path]):
        code, _, err = say(*args)
        assert code == 2
        assert "written in format 99, this version reads up to 3; upgrade algoperf-lite" in err


def test_status_score_and_report_of_a_finished_board(board, say):
    code, out, _ = say("status", board)
    assert code == 0
    assert "4 of 4 trials done" in out
    assert out.count("2 target_reached") == 2
    status = json.loads(say("status", board, "--json")[1])
    assert set(status["trials"].values()) == {"target_reached"}
    assert status["running"] is None
    code, out, _ = say("score", board, "--json")
    assert code == 0
    json.loads(out)
    code, out, _ = say("score", board)
    assert code == 0
    assert "nadamw" in out
    code, out, _ = say("report", board, "--out", board.parent / "page.html")
    assert code == 0
    assert "page.html" in out
    assert "nadamw" in (board.parent / "page.html").read_text()


def test_unfinished_board_has_a_status_and_no_score(board, say, tmp_path):
    (tmp_path / "benchmark.json").write_bytes((board / "benchmark.json").read_bytes())
    code, out, _ = say("status", tmp_path)
    assert code == 0
    assert "0 of 4 trials done" in out
    assert "not running; the `run` command that began it goes on" in out
    code, out, _ = say("score", tmp_path)
    assert code == 0
    assert "4 trials are missing, so there is no score" in out
    summary = json.loads(say("score", tmp_path, "--json")[1])
    assert (summary["status"], summary["scores"], summary["pairs"]) == ("unfinished", [], [])


def test_run_with_a_failed_trial_has_code_one_and_is_retried_on_demand(say, tmp_path, monkeypatch):
    real, broken = trial._evaluate, []

    def failing(job, *args):
        if job.spec.entrant == "aa":
            broken.append(job)
            raise ValueError("no luck")
        return real(job, *args)

    command = ["run", TINY, "--smoke", "--mesh", "data=1", "--out", tmp_path / "run", "--no-report"]
    with monkeypatch.context() as patch:
        patch.setattr(trial, "_evaluate", failing)
        code, out, _ = say(*command)
        assert code == 1
        assert "failed: tiny aa study 0 trial 0: error: ValueError: no luck" in out
        assert "1 trial failed; tracebacks in" in out
        assert say(*command)[0] == 0
        assert len(broken) == 1
    code, out, _ = say(*command, "--retry", "error")
    assert code == 0
    assert "1 trial to run" in out


def test_run_that_is_interrupted_has_code_130_and_goes_on(say, tmp_path, monkeypatch):
    import os
    import signal

    real, seen = trial._evaluate, []

    def interrupting(*args):
        seen.append(None)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    command = ["run", TINY, "--smoke", "--mesh", "data=1", "--out", tmp_path / "run", "--no-report"]
    with monkeypatch.context() as patch:
        patch.setattr(trial, "_evaluate", interrupting)
        code, _, err = say(*command)
    assert code == 130
    assert "Ctrl-C again stops now" in err
    assert "the same command goes on where it stopped" in err
    assert len(seen) == 1
    code, out, _ = say(*command)
    assert code == 0
    assert "2 trials to run" in out


def test_out_below_a_file_has_code_two(say, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = say("run", TINY, "--smoke", "--out", tmp_path / "file" / "run")
    assert code == 2
    assert "a file stands in the way" in err


@pytest.mark.parametrize(
    ("flag", "place", "accepted"),
    [
        ("--out", "file/page.html", "--out takes an HTML file, or a folder for report.html"),
        ("--tensorboard", "file", "--tensorboard takes a folder"),
    ],
)
def test_report_that_cannot_be_written_is_one_message_with_code_two(flag, place, accepted, board, say, tmp_path):
    if flag == "--tensorboard":
        pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("mine")
    page = [] if flag == "--out" else ["--out", tmp_path / "page.html"]
    code, _, err = say("report", board, "--light", *page, flag, tmp_path / place)
    assert code == 2
    assert err.startswith(f"error: cannot write {tmp_path / place.partition('/')[0]}")
    assert err.endswith(f"; {accepted}\n")
    assert err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process-id", "3"], "the three go together"),
        (["--coordinator", "foo", "--num-processes", "2"], "HOST:PORT"),
        (["--checkpoint-every", "-5"], "0 or more"),
        (["--json"], "--json goes with --dry-run"),
    ],
)
def test_flags_that_do_not_fit_have_code_two(say, flags, message):
    code, _, err = say("run", TINY, *flags)
    assert code == 2
    assert message in err


def test_disk_fault_has_code_three(say, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", full)
        code, _, err = say("run", TINY, "--smoke", "--out", tmp_path / "run")
    assert code == 3
    assert re.search("cannot write under .*No space left", err)


# ------------------------------------------------------------------------------------------------- the other commands


def test_list_names_what_is_shipped(say):
    code, out, _ = say("list")
    assert code == 0
    assert all(name in out for name in ("nadamw", "digits_vit", "demo", "tinyshakespeare"))
    assert "nadamw" in json.loads(say("list", "submissions", "--json")[1])["submissions"]


@pytest.mark.parametrize("name", ["nadamw", "digits_vit", "demo", "tinyshakespeare", TINY, str(ASSETS / "tiny.py")])
def test_describe_knows_every_kind_of_entry(name, say):
    code, out, err = say("describe", name)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 3
    json.loads(say("describe", name, "--json")[1])


def test_validate_of_a_good_submission_and_workload_passes(say):
    for name in ("adamw", ASSETS / "tiny.py"):
        code, out, _ = say("validate", name)
        assert code == 0, out
        assert out.splitlines()[-1] == "all checks passed"


@pytest.mark.parametrize(
    ("body", "line", "mend"),
    [
        ("def build(p, h): ...\n", "FAIL SPACE or DEFAULTS are there", "add DEFAULTS"),
        (
            "DEFAULTS = {'a': 1.0}\n\ndef build(p, h):\n    return optax.sgd(0.1 if h['a'] > 0 else 0.2)\n",
            "FAIL build and init are traceable",
            "jnp.where instead of `if`",
        ),
        (
            "DEFAULTS = {'a': 1e30}\n\ndef build(p, h):\n    return optax.sgd(h['a'])\n",
            "FAIL Ten steps on a convex toy problem stay finite",
            "lower the default learning rate",
        ),
    ],
)
def test_validate_of_a_bad_submission_fails_with_the_mend(body, line, mend, say, tmp_path):
    code, out, _ = say("validate", tiny_trial.write_submission(tmp_path, "\n" + body))
    assert code == 1
    assert line in out
    assert f"mend: {mend}" in out or mend in out
    assert re.search(r"^\d+ failed$", out, re.MULTILINE)


def test_validate_builds_every_variant_and_tells_which_fails(say, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text((ASSETS / "tiny.py").read_text() + "\nVARIANTS['wrong'] = {'breadth': 3}\n")
    code, out, _ = say("validate", path)
    assert code == 1
    assert f"ok   held-out variant {path}:still builds: 36 parameters" in out
    assert f"FAIL held-out variant {path}:wrong builds: workload" in out
    assert "breadth" in out


def test_all_stands_for_every_shipped_submission_at_its_place(monkeypatch, tmp_path):
    from algoperf_lite import runner

    class Asked(Exception):
        pass

    def request(**arguments):
        raise Asked(arguments["submissions"])

    monkeypatch.setattr(runner, "Request", request)
    with pytest.raises(Asked) as found:
        call("run", TINY, "--submissions", "mine=./a.py,all", "--out", tmp_path)
    first, *shipped = found.value.args[0]
    assert first == "mine=./a.py"
    assert shipped == sorted(shipped) == list(registry.names("submissions"))
    assert {"nadamw", "shampoo"} < set(shipped)


def test_validate_of_an_unknown_name_knows_workloads_and_submissions(say):
    code, _, err = say("validate", "digits_vt")
    assert code == 2
    assert "unknown workload or submission 'digits_vt'; did you mean 'digits_vit'?" in err


def test_describe_of_a_workload_file_and_its_variant(say):
    code, out, _ = say("describe", ASSETS / "tiny.py")
    assert code == 0
    assert out.startswith("workload")
    code, out, _ = say("describe", f"{ASSETS / 'tiny.py'}:still")
    assert code == 0
    assert "running = False" in out
    code, _, err = say("describe", f"{ASSETS / 'tiny.py'}:stil")
    assert code == 2
    assert "did you mean 'still'" in err


def test_targets_of_a_variant_without_its_base_names_the_file(say, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text((ASSETS / "tiny.py").read_text())
    code, _, err = say("targets", f"{path}:still", "--out", tmp_path / "out")
    assert code == 2
    assert f"make it first: algoperf-lite targets {path}" in err
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "tiny.json").write_text("{")
    code, _, err = say("targets", f"{path}:still", "--out", tmp_path / "out")
    assert code == 2
    assert "tiny.json is no target record" in err


def test_data_list_and_verify_of_what_is_not_there(say, tmp_path, monkeypatch):
    code, out, _ = say("data", "list")
    assert code == 0
    assert "tinyshakespeare: " in out
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path))
    code, out, _ = say("data", "verify", "tinyshakespeare")
    assert code == 3
    assert "tinyshakespeare: " in out


def test_doctor_has_a_line_for_everything_and_a_fix_for_what_is_wrong(say):
    code, out, _ = say("doctor")
    lines = out.splitlines()
    states = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert len(states) == 9
    assert set(states) <= {"ok", "warn", "FAIL"}
    assert code == (3 if "FAIL" in states else 0)
    assert sum(line.startswith("     fix: ") for line in lines) >= sum(s != "ok" for s in states)
