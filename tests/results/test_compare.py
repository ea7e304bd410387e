"""Two submissions of a board, and two boards, side by side."""

import json

import msgspec
import pytest

from algoperf_lite import cli, errors, records, search
from algoperf_lite.results import compare, summary
from tests import algoperf_logs, synthetic_run


def hit(entrant, workload, study, trial):
    """Lion is slower; every study and workload a little different."""
    return {"lion": 34}.get(entrant, 25) + study + (workload == "words")


def later(by):
    return lambda *where: hit(*where) + by


@pytest.fixture
def run(tmp_path):
    def make(name="run", board=None, hit=hit, **outcome):
        path = synthetic_run.write(tmp_path / name, board or synthetic_run.benchmark(), hit, **outcome)
        return str(path)

    return make


def test_two_submissions_of_a_board_have_the_boards_own_verdict(run):
    path = run(board=synthetic_run.benchmark(entrants=("nadamw", "lion", "sgd")))
    found = compare.compare("nadamw", "lion", board=path)
    json.dumps(found, allow_nan=False)
    pair = next(p for p in summary.summarise(compare._load(path, None))["pairs"] if {p["a"], p["b"]} == {"nadamw", "lion"})
    assert found["pairs"][0]["verdict"] == pair
    assert [row["workload"] for row in found["pairs"][0]["workloads"]] == ["digits", "words"]
    assert found["pairs"][0]["workloads"][0]["ratio"] == pytest.approx(260 / 350)


def test_the_other_way_round_is_the_inverse(run):
    path = run()
    one, other = (compare.compare(*pair, board=path)["pairs"][0] for pair in (("nadamw", "lion"), ("lion", "nadamw")))
    assert (one["verdict"]["verdict"], other["verdict"]["verdict"]) == ("better", "worse")
    assert other["verdict"]["ratio"] == pytest.approx(1 / one["verdict"]["ratio"])
    assert other["verdict"]["interval"] == pytest.approx([1 / end for end in one["verdict"]["interval"][::-1]])
    assert other["workloads"][0]["a"] == one["workloads"][0]["b"]


def test_two_boards_compare_each_common_submission(run):
    found = compare.compare(run("old"), run("new", hit=later(10)))
    assert [(row["a"], row["verdict"]["verdict"]) for row in found["pairs"]] == [("nadamw", "better"), ("lion", "better")]
    assert found["pairs"][0]["workloads"][0]["ratio"] == pytest.approx(260 / 360)


def test_many_submissions_share_one_level(run):
    found = compare.compare(run("old"), run("new"))
    assert [row["verdict"]["ratio"] for row in found["pairs"]] == [1.0, 1.0]
    alone = compare.compare(f"{run('old')}:lion", f"{run('new')}:lion")
    assert alone["pairs"][0]["verdict"]["alpha"] == 2 * found["pairs"][1]["verdict"]["alpha"]


def test_submissions_of_two_boards_are_named_after_a_colon(run):
    found = compare.compare(f"{run('old')}:lion", f"{run('new')}:nadamw")
    assert found["pairs"][0]["verdict"]["verdict"] == "worse"
    within = compare.compare(f"{run('old')}:lion", f"{run('old')}:nadamw")
    assert within["pairs"][0]["a"] == "lion"


def test_workload_of_another_version_or_target_is_left_out_and_told(run):
    other = synthetic_run.benchmark()
    changed = other.workloads | {"words": msgspec.structs.replace(other.workloads["words"], version=2)}
    found = compare.compare(run("old"), run("new", msgspec.structs.replace(other, workloads=changed)))
    assert [row["workload"] for row in found["pairs"][0]["workloads"]] == ["digits"]
    assert any("words is left out" in note and "version (1 and 2)" in note for note in found["notes"])


def test_workloads_of_one_side_alone_are_told(run):
    found = compare.compare(run("old"), run("new", synthetic_run.benchmark(workloads=("words", "sounds"))))
    assert [row["workload"] for row in found["pairs"][0]["workloads"]] == ["words"]
    assert {"digits", "sounds"} <= {note.split()[0] for note in found["notes"]}


def test_other_number_of_studies_uses_those_that_both_have(run):
    found = compare.compare(run("old"), run("new", synthetic_run.benchmark(studies=5)))
    assert found["pairs"][0]["verdict"]["look"] == 3
    assert any("nadamw has 3 studies and nadamw 5: the first 3" in note for note in found["notes"])


def test_seconds_are_compared_on_one_machine_alone(run):
    same = compare.compare(run("old"), run("new"))
    assert same["pairs"][0]["workloads"][0]["a"]["seconds"] == pytest.approx(2.6)
    other = compare.compare(run("old"), run("gpu", host="gpu-9"))
    assert not other["seconds_compared"]
    assert other["pairs"][0]["workloads"][0]["a"]["seconds"] is None
    assert any("seconds are left out" in note for note in other["notes"])


def test_board_without_a_steady_clock_is_compared_by_steps(run):
    found = compare.compare(run("old"), run("noisy", noisy=True))
    assert found["ranked_by"] == "steps_x_cost"


def test_nothing_that_cannot_be_compared_is(run, tmp_path):
    path = run(board=synthetic_run.benchmark(entrants=("nadamw", "lion", "aa")))
    cases = [
        (("nadamw", "lino"), path, r"unknown submission.*lion"),
        (("nadamw", "nadamw"), path, "against itself"),
        (("nadamw", "aa"), path, "A/A control"),
        ((path, "nowhere"), None, "neither a folder nor FOLDER:NAME"),
        ((path, f"{path}:lion"), None, "name a submission on both sides"),
        ((path, str(tmp_path)), None, "no run directory"),
        ((path, run("alone", synthetic_run.benchmark(entrants=("sgd",)))), None, "no submission of one name"),
        ((path, run("far", synthetic_run.benchmark(workloads=("sounds",)))), None, "no workload in common"),
        ((path, run("smoke", synthetic_run.benchmark(smoke=True))), None, "smoke run"),
    ]
    for names, board, message in cases:
        with pytest.raises(errors.UserError, match=message):
            compare.compare(*names, board=board)


def test_twin_is_compared_with_others_as_the_file_it_is(run):
    path = run(board=synthetic_run.benchmark(entrants=("nadamw", "lion", "aa")))
    found = compare.compare("aa", "lion", board=path)
    assert found["pairs"][0]["verdict"]["a"] == "nadamw"
    assert "aa is the file of nadamw, whose verdict is shown" in found["notes"]


def test_unfinished_board_is_refused(tmp_path):
    board = synthetic_run.benchmark()
    path = synthetic_run.write(tmp_path, board, hit)
    outcome = records.RunDirectory(path).path / "trials" / search.trials(board)[0].id / "outcome.json"
    outcome.unlink()
    with pytest.raises(errors.UserError, match="unfinished, 1 trials are missing"):
        compare.compare("nadamw", "lion", board=str(path))


def test_command_prints_the_verdict_and_what_it_rests_on(run, capsys):
    path = run()
    assert cli.main(cli.parser().parse_args(["compare", "nadamw", "lion", "--in", path])) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "A = nadamw is better than B = lion" in shown
    assert "3 of 3" in shown
    assert cli.main(cli.parser().parse_args(["compare", "nadamw", "lion", "--in", path, "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["verdict"]["verdict"] == "better"
    assert cli.main(cli.parser().parse_args(["compare", "nadamw", "lino", "--in", path])) == 2
    assert "did you mean 'lion'?" in capsys.readouterr().err


def test_logs_compare_as_run_directories_do(tmp_path):
    workloads = {"wmt": "loss", "ogbg": "accuracy"}
    board = algoperf_logs.benchmark(tmp_path / "made.toml", workloads)
    times = {"a": 400.0, "b": 800.0}
    logs = algoperf_logs.write(
        tmp_path / "logs",
        workloads,
        {
            name: {w: [[algoperf_logs.hit(time + 10 * j, metric)] for j in range(3)] for w, metric in workloads.items()}
            for name, time in times.items()
        },
    )
    found = compare.compare("b", "a", board=str(logs), benchmark=board)
    assert found["units"] == "s"
    assert found["pairs"][0]["verdict"]["verdict"] == "worse"
    assert found["pairs"][0]["workloads"][0]["ratio"] == pytest.approx(810 / 410)
