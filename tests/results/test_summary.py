"""From files to the schema of `score --json`."""

import dataclasses
import io
import json
import math

import msgspec
import pytest
from rich.console import Console
from scipy import stats

from algoperf_lite import errors, records, results, search
from algoperf_lite.report import page, terminal
from tests import algoperf_logs, synthetic_run


def hit(entrant, workload, study, trial):
    """Lion is slower; every study and workload a little different; larger trial numbers slower."""
    base = {"lion": 34}.get(entrant, 25)
    return base + study + (workload == "words") + 4 * trial


@pytest.fixture
def run(tmp_path):
    """Writes a board and returns its summary."""

    def make(board=None, hit=hit, unfinished=lambda spec: False, **outcome):
        synthetic_run.write(tmp_path / "run", board or synthetic_run.benchmark(), hit, unfinished, **outcome)
        return results.score(tmp_path / "run")

    return make


def edit(path, board, change, which=lambda spec: True):
    """Change outcomes: `change` of an outcome's fields gives those to replace."""
    for spec in filter(which, search.trials(board)):
        file = path / "trials" / spec.id / "outcome.json"
        found = msgspec.json.decode(file.read_bytes())
        file.write_bytes(msgspec.json.encode(found | change(found)))


def kinds(summary):
    return {flag["kind"] for flag in summary["flags"]}


def test_score_of_a_complete_board_has_the_schema(run):
    found = run()
    json.dumps(found, allow_nan=False)
    assert found["benchmark"] == "synthetic"
    assert found["score_version"] == 1
    assert found["units"] == "reference_steps"
    assert found["status"] == "scored"
    assert [row["submission"] for row in found["scores"]] == ["nadamw", "lion"]
    best = found["scores"][0]
    assert best["score"] == 1.0
    assert best["ci95"][0] <= 1.0 <= best["ci95"][1]
    assert best["score_vs_reference"] is None
    assert best["n_studies"] == 3
    assert found["time_to_target"]["nadamw"] == {"digits": 260.0, "words": 270.0}
    assert found["time_to_target_s"]["nadamw"]["digits"] == pytest.approx(2.6)
    assert found["steps_to_target"]["lion"]["words"] == 360
    assert found["pairs"][0]["verdict"] == "better"
    assert found["headline"] == "pairs"


def test_score_against_reference_needs_the_frozen_times(run):
    row = run(synthetic_run.benchmark(reference_steps=250.0))["scores"][0]
    assert 0 < row["score_vs_reference"] < 1
    assert row["score_vs_reference_ci95"][0] <= row["score_vs_reference"] <= row["score_vs_reference_ci95"][1]


def test_score_against_reference_needs_the_time_of_every_workload(run):
    board = synthetic_run.benchmark(reference_steps=250.0)
    board.workloads["words"] = msgspec.structs.replace(board.workloads["words"], reference_steps=0.0)
    row = run(board)["scores"][0]
    assert (row["score_vs_reference"], row["score_vs_reference_ci95"]) == (None, None)


def test_score_takes_the_fastest_trial_of_a_study(run):
    found = run(synthetic_run.benchmark(points=3))
    assert found["time_to_target"]["nadamw"]["digits"] == 260.0
    assert found["cells"]["nadamw"]["digits"]["trials"] == 9


def test_missed_cell_is_null_and_counts_hits(run):
    def missing(entrant, workload, study, trial):
        return None if (entrant, workload) == ("lion", "words") and study else hit(entrant, workload, study, trial)

    found = run(hit=missing)
    cell = found["cells"]["lion"]["words"]
    assert found["time_to_target"]["lion"]["words"] is None
    assert found["resolution"]["lion"]["words"] is None
    assert (cell["hits"], cell["studies"], cell["ci95"]) == (1, 3, None)
    assert found["pairs"][0]["by_hits"] == ["words"]


def test_unfinished_board_gets_no_score_and_names_what_is_missing(run):
    found = run(unfinished=lambda spec: spec.entrant == "lion" and spec.study == 2)
    assert found["status"] == "unfinished"
    assert found["scores"] == found["pairs"] == []
    assert found["missing"] == ["lion/digits/2/0", "lion/words/2/0"]
    assert "unfinished" in kinds(found)


def test_smoke_run_is_never_ranked(run):
    found = run(synthetic_run.benchmark(smoke=True))
    assert found["status"] == "smoke"
    assert found["scores"] == found["pairs"] == []
    assert found["time_to_target"]["nadamw"]["digits"] == 260.0
    assert "smoke" in kinds(found)


@pytest.mark.parametrize("outcome", ["out_of_memory", "error", "diverged"])
def test_crashed_trial_is_a_miss_whatever_it_recorded(tmp_path, outcome):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(entrants=("nadamw",)), hit, outcome=outcome)
    found = results.score(path)
    assert found["scores"][0]["score"] == 0
    assert found["time_to_target"]["nadamw"] == {"digits": None, "words": None}
    assert ("failed" in kinds(found)) == (outcome != "diverged")


def test_trial_that_crashed_before_its_first_evaluation_is_a_miss(tmp_path):
    def of(spec):
        return (spec.entrant, spec.workload, spec.study) == ("lion", "digits", 1)

    board = synthetic_run.benchmark(points=2)
    path = synthetic_run.write(tmp_path, board, hit)
    nothing = dict.fromkeys(("step", "time_s", "reference_steps", "best", "test"))
    nothing |= {"outcome": "error", "last_step": 0, "charged_s": 0.0, "charged_reference_steps": 0.0}
    edit(path, board, lambda _: nothing, of)
    for spec in filter(of, search.trials(board)):
        (path / "trials" / spec.id / "events.jsonl").write_bytes(b"")
    found = results.read(path)
    summary = results.summarise(found)
    json.dumps(summary, allow_nan=False)
    cell = summary["cells"]["lion"]["digits"]
    assert (summary["status"], cell["hits"], cell["studies"], cell["outcomes"]["error"]) == ("scored", 2, 3, 2)
    assert cell["study_times"] == [340.0, None, 360.0]
    assert {row["kind"] for row in summary["ablations"] if row["scores"]} >= {"target", "time"}
    assert "lion: 2 trials ended with" in page.render(found, summary, light=True)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"seed": 7}, "development"),
        ({"workloads": ("new_digits",)}, "provisional targets"),
        ({"studies": 1}, "one study"),
        ({"studies": 2}, "few studies"),
        (
            {"extensions": [{"date": "2026-01-01", "entrants": ["lion"], "studies": 3, "sha256_before": "0" * 64}]},
            "extended",
        ),
    ],
)
def test_board_that_needs_a_warning_is_flagged(run, fields, kind):
    if "extensions" in fields:
        fields = {"extensions": [records.Extension(**fields["extensions"][0])]}
    if "workloads" in fields:
        board = synthetic_run.benchmark(workloads=fields["workloads"])
    else:
        board = synthetic_run.benchmark(**fields)
    assert kind in kinds(run(board))


def test_quiet_board_has_no_flag_but_the_missing_control(run):
    assert kinds(run()) == {"no A/A"}


def test_starred_hit_and_charged_compilation_are_flagged(run):
    found = run(test_missed=True, compilations_while_charged=1)
    assert {"starred", "compiled"} <= kinds(found)
    assert found["cells"]["nadamw"]["digits"]["starred"] == 3


def test_noisy_board_ranks_by_steps_times_cost(run):
    board = synthetic_run.benchmark()
    cost = board.costs["nadamw"]["digits"]["{}"]
    dear = msgspec.structs.replace(cost, factor=4.0)
    board.costs["nadamw"] = {workload: {"{}": dear} for workload in board.workloads}
    found = run(board, noisy=True)
    assert found["ranked_by"] == "steps_x_cost"
    assert found["scores"][0]["submission"] == "lion"
    assert {"steps only", "noisy"} <= kinds(found)


def coarse(entrant, workload, study, trial):
    """All studies hit at the same evaluation: nothing but its width is known of their spread."""
    return 25 + 5 * (entrant == "lion")


def test_studies_that_hit_at_one_evaluation_are_no_certainty(run):
    # Each of two workloads has a spread of interval / sqrt 12 (Sheppard), which no cost factor changes.
    va, vb = ((10 / time) ** 2 / 12 / 2 / 3 for time in (250, 300))
    df = 2 * (va + vb) ** 2 / (va**2 + vb**2)
    worked = 2 * stats.t.sf(math.log(300 / 250) / math.sqrt(va + vb), df)
    assert run(hit=coarse)["pairs"][0]["p"] == pytest.approx(worked)


@pytest.mark.parametrize("unit", ["reference_steps", "steps_x_cost"])
def test_cost_of_a_step_changes_no_verdict(unit, tmp_path):
    found = {}
    for factor in (1.0, 4.0):
        board = synthetic_run.benchmark()
        for entrant in board.costs:
            cost = board.costs[entrant]["digits"]["{}"]
            board.costs[entrant] = {w: {"{}": msgspec.structs.replace(cost, factor=factor)} for w in board.workloads}
        path = synthetic_run.write(tmp_path / f"{factor:g}", board, coarse, noisy=unit == "steps_x_cost")
        scaled = ("reference_steps", "charged_reference_steps", "time_s", "charged_s")
        edit(path, board, lambda outcome, by=factor, of=scaled: {key: by * outcome[key] for key in of})
        found[factor] = results.score(path)
    assert found[4.0]["ranked_by"] == unit
    assert found[4.0]["time_to_target"]["lion"]["digits"] == 4 * found[1.0]["time_to_target"]["lion"]["digits"]
    assert found[4.0]["pairs"] == found[1.0]["pairs"]


def test_miss_counts_in_verdicts_at_the_clocks_second_stop(run):
    def missing(entrant, workload, study, trial):
        return None if (entrant, study) == ("lion", 1) else 25

    assert run(hit=missing)["pairs"][0]["ratio"] == pytest.approx((250 / 625) ** (1 / 3))  # 1.25 x 500 steps


def test_uneven_studies_cost_only_the_pairs_that_they_are_in(tmp_path):
    workloads = {"v": "loss", "w": "accuracy"}
    times = {"a": (40.0, 41.0, 42.0), "b": (60.0, 61.0, 62.0), "c": (50.0,)}
    logs = {
        name: {w: [[algoperf_logs.hit(time, metric)] for time in row] for w, metric in workloads.items()}
        for name, row in times.items()
    }
    logs["b"]["v"].pop()
    board = algoperf_logs.benchmark(tmp_path / "board.toml", workloads)
    found = results.score(algoperf_logs.write(tmp_path / "logs", workloads, logs), board)
    assert {row["submission"]: row["n_studies"] for row in found["scores"]} == {"a": 3, "b": 3, "c": 1}
    looks = {(pair["a"], pair["b"]): (pair["verdict"], pair["look"]) for pair in found["pairs"]}
    assert looks.pop(("a", "b"))[1] == 3
    assert set(looks.values()) == {("not separable", 0)}


def test_cost_of_tuning_is_in_the_unit_of_the_rank(run):
    tuning = run(synthetic_run.benchmark(points=2))["tuning"]["nadamw"]["digits"]
    assert tuning["cost"] == pytest.approx([280.0, 560.0])  # 25 + 1 and 29 + 1 evaluations of ten steps, on average


def test_resolution_over_five_percent_is_flagged(run):
    found = run(hit=lambda entrant, workload, study, trial: 15 if entrant == "lion" else 20)
    assert found["resolution"]["lion"]["digits"] == pytest.approx(1 / 15)
    assert found["cells"]["lion"]["digits"]["coarse"]
    assert found["resolution"]["nadamw"]["digits"] == pytest.approx(0.05)
    assert not found["cells"]["nadamw"]["digits"]["coarse"]  # at 5 %, not over it
    assert "coarse" in kinds(found)


def test_budget_of_the_board_includes_the_rulesets_factor(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(ruleset="self", budget_factor=1.5), hit)
    assert results.read(path).board.workloads[0].budget == 750.0


def test_speedups_are_against_nadamw_where_it_is_there(run, tmp_path):
    found = run()["speedups"]
    assert found["reference"] == "nadamw"
    assert found["time_ratio"] == {"nadamw": 1.0, "lion": pytest.approx(math.sqrt(35 / 26 * 36 / 27))}
    path = synthetic_run.write(tmp_path / "other", synthetic_run.benchmark(entrants=("lion", "sgd")), hit)
    assert results.score(path)["speedups"] is None


def test_ablations_are_rows_of_plain_numbers(run):
    rows = run()["ablations"]
    assert rows[0] == {
        "rule": "the rules as they are",
        "kind": "as it is",
        "scores": {row["submission"]: row["score"] for row in run()["scores"]},
        "ranks": {"nadamw": 1, "lion": 2},
        "swaps": 0,
        "note": "",
    }
    assert [row["rule"] for row in rows if row["kind"] == "unit"] == ["ranked by optimizer steps", "ranked by seconds"]
    assert {row["kind"] for row in rows} >= {"integral", "limit", "unit", "time", "target", "workload", "submission"}


def test_board_of_ours_has_no_held_out_workloads_and_our_rules(run):
    found = run()
    assert (found["held_out"], found["rules"], found["workloads"]) == ({}, "algoperf-lite", ["digits", "words"])


def test_pair_of_different_drivers_says_so(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(), hit)
    found = results.read(path)
    runs = {
        key: dataclasses.replace(run, spec=msgspec.structs.replace(run.spec, driver="dispatch"))
        if key[0] == "lion"
        else run
        for key, run in found.runs.items()
    }
    pair = results.summarise(dataclasses.replace(found, runs=runs))["pairs"][0]
    assert "different drivers (dispatch against scan)" in pair["additions"]


def test_twin_is_a_control_and_no_pair(run):
    found = run(synthetic_run.benchmark(entrants=("nadamw", "lion", "aa")))
    assert [(row["a"], row["b"], row["passed"]) for row in found["aa"]] == [("nadamw", "aa", True)]
    assert found["aa"][0]["ratio"] == 1.0
    assert [(row["a"], row["b"]) for row in found["pairs"]] == [("nadamw", "lion")]
    assert not kinds(found)


def test_twin_that_differs_is_flagged(run):
    found = run(
        synthetic_run.benchmark(entrants=("nadamw", "aa")),
        hit=lambda entrant, workload, study, trial: 25 + (entrant == "aa"),
    )
    assert not found["aa"][0]["passed"]
    (said,) = [flag["text"] for flag in found["flags"] if flag["kind"] == "A/A failed"]
    assert said == "nadamw and aa are one file, and their metrics differ in 6 trials: more than seed and file entered."


def test_twins_apart_in_time_alone_are_told_from_such_that_train_differently(tmp_path):
    board = synthetic_run.benchmark(entrants=("nadamw", "aa"))
    path = synthetic_run.write(tmp_path, board, lambda entrant, workload, study, trial: 25)
    for spec in search.trials(board):  # one seed for both: the synthetic metrics wriggle with it
        (path / "trials" / spec.id / "events.jsonl").write_bytes(
            b"".join(msgspec.json.encode(e) + b"\n" for e in synthetic_run.events(search.trials(board)[0], 25))
        )
    edit(
        path,
        board,
        lambda found: {"charged_reference_steps": 1.1 * found["charged_reference_steps"]},
        lambda spec: spec.entrant == "aa",
    )
    (said,) = [flag["text"] for flag in results.score(path)["flags"] if flag["kind"] == "A/A failed"]
    assert "trained alike to the bit, and were charged times that differ by 9.1% (5 % is allowed)" in said


@pytest.mark.parametrize("direction", ["max", "min"])
def test_best_of_misses_is_the_median_over_studies_without_a_hit_of_their_best_trials(direction, tmp_path):
    board = synthetic_run.benchmark(entrants=("nadamw",), workloads=("digits",), studies=4, points=2)
    info = msgspec.structs.replace(board.workloads["digits"], direction=direction, validation_target=0.0)
    board = msgspec.structs.replace(board, workloads={"digits": info})
    path = synthetic_run.write(tmp_path, board, lambda e, w, study, trial: 1 if (study, trial) == (3, 0) else None)
    best = {(0, 0): 0.5, (0, 1): 0.6, (1, 0): None, (1, 1): 0.9, (2, 0): 0.1, (2, 1): 0.7, (3, 0): 9.0, (3, 1): -9.0}
    for spec in search.trials(board):
        first, second, *_ = synthetic_run.events(spec, None)
        lines = [
            msgspec.structs.replace(first, validation={"accuracy": best[spec.study, spec.trial]}),
            msgspec.structs.replace(second, validation={"accuracy": float("nan")}),
        ]
        folder = path / "trials" / spec.id
        (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in lines))
    expected = {"max": 0.7, "min": 0.5}  # of 0.6, 0.9, 0.7 and of 0.5, 0.9, 0.1; the fourth study has a hit
    cell = results.score(path)["cells"]["nadamw"]["digits"]
    assert (cell["hits"], cell["best"]) == (1, expected[direction])


def test_best_of_misses_is_null_where_every_study_hits(run):
    found = run(hit=lambda e, w, study, trial: None if (e, w, study) == ("lion", "words", 1) else 20)
    cells = {(name, w): cell["best"] for name, row in found["cells"].items() for w, cell in row.items()}
    assert [where for where, best in cells.items() if best is not None] == [("lion", "words")]
    assert cells["lion", "words"] < 0.9  # the study that missed, not those that hit


def test_twins_that_all_fail_are_flagged_without_a_time(tmp_path):
    board = synthetic_run.benchmark(entrants=("nadamw", "aa"))
    path = synthetic_run.write(tmp_path, board, lambda *where: None)
    lines = b"".join(msgspec.json.encode(e) + b"\n" for e in synthetic_run.events(search.trials(board)[0], None)[:3])
    for spec in search.trials(board):
        (path / "trials" / spec.id / "events.jsonl").write_bytes(lines)
    edit(path, board, lambda found: {"outcome": "error", "charged_reference_steps": 0.0, "charged_s": 0.0})
    summary = results.score(path)
    (said,) = [flag["text"] for flag in summary["flags"] if flag["kind"] == "A/A failed"]
    assert said == "nadamw and aa are one file, and no time of both can be compared."
    stream = io.StringIO()
    terminal.print_summary(summary, Console(file=stream, width=120))
    assert "A/A nadamw = aa: FAILED, " in stream.getvalue()


def test_two_hosts_are_flagged(tmp_path):
    board = synthetic_run.benchmark()
    path = synthetic_run.write(tmp_path, board, hit)
    outcome = path / "trials" / search.trials(board)[0].id / "outcome.json"
    outcome.write_text(outcome.read_text().replace("cpu-1", "gpu-9"))
    found = results.score(path)
    assert found["hosts"] == ["cpu-1", "gpu-9"]
    assert "hosts" in kinds(found)
    assert [row["rule"] for row in found["ablations"] if row["kind"] == "unit"] == ["ranked by optimizer steps"]


def test_torn_last_line_is_tolerated(tmp_path):
    board = synthetic_run.benchmark()
    path = synthetic_run.write(tmp_path, board, hit)
    events = path / "trials" / search.trials(board)[0].id / "events.jsonl"
    events.write_bytes(events.read_bytes() + b'{"step": 99')
    assert results.score(path)["status"] == "scored"


def test_board_stays_readable_after_an_upgrade(tmp_path, monkeypatch):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(), hit)
    monkeypatch.setattr(search, "__version__", "99.0")
    assert results.score(path)["status"] == "scored"


def test_folder_of_another_benchmark_is_ignored_and_counted(tmp_path):
    synthetic_run.write(tmp_path, synthetic_run.benchmark(seed=4321), hit)
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(), hit)
    found = results.score(path)
    assert found["status"] == "scored"
    assert "strays" in kinds(found)


def test_directory_that_is_no_run_says_so(tmp_path):
    with pytest.raises(errors.UserError, match="no run directory"):
        results.score(tmp_path)


def test_cell_of_two_studies_costs_the_scores_their_intervals_and_is_told(tmp_path):
    workloads = {"v": "loss", "w": "loss"}
    board = algoperf_logs.benchmark(tmp_path / "made.toml", workloads, studies=3)
    whole = [[algoperf_logs.hit(100.0 + j)] for j in range(3)]
    table = {"a": {"v": whole, "w": whole}, "b": {"v": whole, "w": whole[:2]}}
    logs = algoperf_logs.write(tmp_path / "logs", workloads, table)
    found = results.score(logs, board)
    assert [row["ci95"] for row in found["scores"]] == [None, None]
    assert [flag["text"] for flag in found["flags"] if flag["kind"] == "no intervals"] == [
        "Scores have intervals only if every cell has 3 studies; fewer: b on w."
    ]
