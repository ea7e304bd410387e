"""Two submissions of a board, and two boards, side by side."""

import itertools
import json
import math

import msgspec
import pytest
from scipy import stats

from algoperf_lite import cli, errors, search, storage
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


def test_first_studies_of_a_longer_board_are_judged_as_if_there_were_no_more(run):
    def hits(entrant, workload, study, trial):
        return 20 + 3 * study if study < 3 else 45 + study

    longer = synthetic_run.benchmark(studies=5)
    alone = compare.compare(run("old"), run("three", hit=hits))["pairs"]
    found = compare.compare(run("old"), run("five", longer, hits))["pairs"]
    assert [row["verdict"] | {"b": ""} for row in found] == [row["verdict"] | {"b": ""} for row in alone]
    turned = compare.compare(run("five", longer, hits), run("old"))["pairs"]
    assert [row["verdict"]["p"] for row in turned] == pytest.approx([row["verdict"]["p"] for row in alone])
    assert [1 / row["verdict"]["ratio"] for row in turned] == pytest.approx([row["verdict"]["ratio"] for row in alone])


ONE = {"workloads": ("digits",), "entrants": ("nadamw",)}


@pytest.mark.parametrize("noisy", [False, True])
def test_miss_counts_at_the_clocks_second_stop_in_any_unit(noisy, run):
    def missing(entrant, workload, study, trial):
        return None if study == 1 else 25

    board = synthetic_run.benchmark(**ONE)
    found = compare.compare(run("old", board, missing), run("new", board, lambda *_: 25, noisy=noisy))
    assert found["ranked_by"] == ("steps_x_cost" if noisy else "reference_steps")
    assert found["pairs"][0]["verdict"]["ratio"] == pytest.approx((625 / 250) ** (1 / 3))  # 1.25 x 500 steps


@pytest.mark.parametrize("noisy", [False, True])
def test_studies_that_hit_at_one_evaluation_are_no_certainty(noisy, run):
    # A step of the new board costs four of the reference's: its evaluations are forty reference steps apart.
    board = synthetic_run.benchmark(**ONE)
    cost = msgspec.structs.replace(board.costs["nadamw"]["digits"]["{}"], factor=4.0)
    dear = synthetic_run.benchmark(**ONE, costs={"nadamw": {"digits": {"{}": cost}}})
    new = run("new", dear, lambda *_: 30, noisy=noisy, reference_steps=1200.0)
    found = compare.compare(run("old", board, lambda *_: 25), new)["pairs"][0]["verdict"]
    va, vb = (10 / 250) ** 2 / 36, (40 / 1200) ** 2 / 36
    df = 2 * (va + vb) ** 2 / (va**2 + vb**2)
    assert found["ratio"] == pytest.approx(250 / 1200)
    assert found["p"] == pytest.approx(2 * stats.t.sf(math.log(1200 / 250) / math.sqrt(va + vb), df))


@pytest.mark.parametrize("other", [("words", "digits"), ("sounds", "words", "digits")])
def test_workloads_are_matched_by_name_whatever_their_order(other, run):
    def hits(entrant, workload, study, trial):
        return {"digits": 10 + study, "words": None if entrant == "lion" and study else 40 + 3 * study}.get(workload, 5)

    old, new = run("old", hit=hits), run("new", synthetic_run.benchmark(workloads=other), hits)
    for found in (compare.compare(old, new), compare.compare(new, old)):
        assert [row["verdict"]["ratio"] for row in found["pairs"]] == pytest.approx([1.0, 1.0])
        assert [row["verdict"]["by_hits"] for row in found["pairs"]] == [[], ["words"]]
        for row in found["pairs"]:
            assert {line["workload"]: line["ratio"] for line in row["workloads"]}["digits"] == 1.0
    mixed = compare.compare(f"{old}:nadamw", f"{new}:lion")["pairs"][0]["verdict"]
    assert (mixed["workloads"], mixed["by_hits"], mixed["hits"]) == (["digits"], ["words"], [3, 1])


def test_hits_turn_with_the_pair(run):
    def hits(entrant, workload, study, trial):
        return None if (entrant, workload) == ("lion", "words") and study else 25

    path = run(hit=hits)
    for pair, expected in ((("nadamw", "lion"), [3, 1]), (("lion", "nadamw"), [1, 3])):
        assert compare.compare(*pair, board=path)["pairs"][0]["verdict"]["hits"] == expected


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"metric": "loss"}, "metric (accuracy and loss)"),
        ({"direction": "min"}, "direction (max and min)"),
        ({"validation_target": 0.91}, "target (0.9 and 0.91)"),
        ({"step_budget": 1000, "evaluations": 100}, "budget (500.0 and 1000.0)"),
        ({"evaluations": 25}, "interval (10 and 20)"),
    ],
)
def test_workload_in_another_form_is_left_out_and_told(fields, told, run):
    other = synthetic_run.benchmark()
    other.workloads["words"] = msgspec.structs.replace(other.workloads["words"], **fields)
    found = compare.compare(run("old"), run("new", other))
    assert [row["workload"] for row in found["pairs"][0]["workloads"]] == ["digits"]
    assert f"words is left out, the two boards differ in its {told}" in found["notes"]


def test_one_folder_is_not_compared_with_itself(run):
    path = run()
    for other in (path, f"{path}/../run"):
        with pytest.raises(errors.UserError, match=r"against itself; two submissions of it: .* A B --in"):
            compare.compare(path, other)
        assert compare.compare(f"{path}:nadamw", f"{other}:lion")["pairs"][0]["verdict"]["verdict"] == "better"


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


def test_three_entrants_of_one_file_are_controls_of_each_other(run):
    path = run(board=synthetic_run.benchmark(entrants=("nadamw", "aa", "aa2", "lion")))
    for pair in itertools.permutations(("nadamw", "aa", "aa2"), 2):
        with pytest.raises(errors.UserError, match="are one file: an A/A control, not a comparison"):
            compare.compare(*pair, board=path)
    assert compare.compare("lion", "aa2", board=path)["pairs"][0]["verdict"]["verdict"] == "worse"


def test_unfinished_board_is_refused(tmp_path):
    board = synthetic_run.benchmark()
    path = synthetic_run.write(tmp_path, board, hit)
    outcome = storage.RunDirectory(path).path / "trials" / search.trials(board)[0].id / "outcome.json"
    outcome.unlink()
    with pytest.raises(errors.UserError, match="unfinished, 1 trial missing"):
        compare.compare("nadamw", "lion", board=str(path))


def test_command_prints_the_verdict_and_what_it_rests_on(run, capsys):
    path = run()
    assert cli.main(cli.parser().parse_args(["compare", "nadamw", "lion", "--in", path])) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "A = nadamw is better than B = lion" in shown
    assert "247 to 273 3/3" in shown
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
