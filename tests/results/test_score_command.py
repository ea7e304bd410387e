"""`algoperf-lite score LOGDIR --benchmark NAME`: what it prints, and what it says when either is the wrong one."""

import json

import pytest

from algoperf_lite import cli
from tests import algoperf_logs as made


def test_folder_that_is_not_the_boards_says_which_is_meant(logs, tmp_path, say):
    folder, board = logs
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for wrong, said in (
        (folder.parent, f"did you mean {folder}?"),
        (folder / "a", f"did you mean {folder}?"),
        (tmp_path / "empty", "no logs of AlgoPerf found; accepted: a folder that holds SUBMISSION/study_J/"),
        (tmp_path / "nowhere", "does not exist; accepted: a folder of AlgoPerf's logs"),
        (tmp_path / "file", "is a file; accepted: a folder of AlgoPerf's logs"),
    ):
        code, out, err = say(wrong, "--benchmark", board)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {wrong}")
        assert said in err


def test_run_directory_is_scored_without_a_benchmark(logs, say):
    (logs[0] / "benchmark.json").write_text("{}")
    code, _, err = say(logs[0], "--benchmark", logs[1])
    assert code == 2
    assert err == f"error: {logs[0]} is a run directory of algoperf-lite: score it without --benchmark\n"


def test_logs_of_another_board_are_refused_by_name(logs, say):
    code, _, err = say(logs[0], "--benchmark", "algoperf-v0.6-self")
    assert code == 2
    assert "none of its workloads (v, w) is on this board (criteo1tb, fastmri," in err
    assert "name another --benchmark" in err


def write(tmp_path, study, studies=3, **fields):
    """Logs of one submission whose every study is `study`, and a board for them."""
    folder = made.write(tmp_path / "logs", {"v": "loss"}, {"a": {"v": [study] * studies}})
    return folder, made.benchmark(tmp_path / "board.toml", {"v": "loss"}, **fields)


def doubt(say, folder, board):
    code, out, _ = say(folder, "--benchmark", board, "--json")
    assert code == 0
    return [flag["text"] for flag in json.loads(out)["flags"] if flag["kind"] == "another board?"]


def test_logs_of_a_board_that_tunes_are_doubted_where_the_board_does_not(tmp_path, say):
    folder, board = write(tmp_path, [made.hit(40.0)] * 2, trials=1)
    (text,) = doubt(say, folder, board)
    assert "most studies have 2 trials, the board has 1" in text
    made.benchmark(tmp_path / "board.toml", {"v": "loss"}, trials=2)
    assert not doubt(say, folder, board)


def test_logs_with_more_studies_or_without_a_workload_of_the_board_are_doubted(tmp_path, say):
    folder, board = write(tmp_path, [made.hit(40.0)], studies=3)
    made.benchmark(tmp_path / "board.toml", {"v": "loss", "w": "loss"}, studies=2)
    (text,) = doubt(say, folder, board)
    assert "most workloads have 3 studies, the board has 2; no submission has w" in text


@pytest.mark.parametrize(("end", "doubted"), [(1.19, False), (1.3, True)])
def test_logs_whose_misses_ran_far_beyond_the_budget_are_doubted(end, doubted, tmp_path, say):
    late = [(end * made.BUDGET_S * k / 100, 0.9) for k in range(1, 101)]
    folder, board = write(tmp_path, [late])
    told = doubt(say, folder, board)
    assert any("most trials that missed ran on to 1.3 times the budget and more" in text for text in told) == doubted


def test_reference_that_is_not_among_the_submissions_is_told(tmp_path, say):
    folder, board = write(tmp_path, [made.hit(40.0)], reference="b")
    found = json.loads(say(folder, "--benchmark", board, "--json")[1])
    assert found["speedups"] is None
    assert [flag["text"] for flag in found["flags"] if flag["kind"] == "no reference"] == [
        "Speed-ups are against b, which is not among these submissions."
    ]
    made.benchmark(tmp_path / "board.toml", {"v": "loss"}, reference="a")
    found = json.loads(say(folder, "--benchmark", board, "--json")[1])
    assert "no reference" not in {flag["kind"] for flag in found["flags"]}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("algoperf-v0.6-slef", "unknown benchmark 'algoperf-v0.6-slef'; did you mean 'algoperf-v0.6-self'?"),
        ("demo", 'demo is no board of AlgoPerf\'s logs: it lacks `kind = "algoperf-logs"`. A run directory holds its own'),
        ("no/such.toml", "benchmark file not found: no/such.toml"),
    ],
)
def test_wrong_benchmark_is_answered(name, said, logs, say):
    code, out, err = say(logs[0], "--benchmark", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert "algoperf-v0.5-external" in err


def test_board_of_logs_cannot_be_run(capsys):
    code = cli.main(cli.parser().parse_args(["run", "algoperf-v0.5-self"]))
    assert code == 2
    assert "can be scored, not run\n  algoperf-lite score LOGDIR --benchmark algoperf-v0.5-self" in capsys.readouterr().err


def test_logs_without_a_benchmark_are_no_run_directory(logs, say):
    code, _, err = say(logs[0])
    assert code == 2
    assert err == (
        f"error: {logs[0]} is no run directory; if it holds logs of AlgoPerf, name their board: --benchmark "
        "algoperf-v0.5-external, algoperf-v0.5-self, algoperf-v0.6-external, algoperf-v0.6-self\n"
    )


def test_score_of_logs_is_printed_as_json_and_as_a_table(logs, say):
    code, out, err = say(logs[0], "--benchmark", logs[1], "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["rules"], found["units"], found["ranked_by"]) == ("algoperf", "s", "seconds")
    assert [(row["submission"], row["rank"]) for row in found["scores"]] == [("a", 1), ("b", 2)]
    assert found["scores"][0]["score"] == 1.0
    assert found["time_to_target"] == {"a": {"w": 40.0, "v": 40.0}, "b": {"w": 60.0, "v": 60.0}}
    assert found["speedups"] == {"reference": "a", "time_ratio": {"a": 1.0, "b": pytest.approx(1.5)}}
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, err) == (0, "")
    assert "a is better than b" in out
