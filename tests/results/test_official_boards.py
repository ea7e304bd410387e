"""AlgoPerf's official boards: every published score, to its four decimals."""

import collections
import csv
import json
import math
import pathlib
import tarfile

import pytest

import scoring
from algoperf_lite import config, errors, results
from algoperf_lite.results import compare
from tests.conftest import ROOT
from tests.results import algoperf_rule
from tests.results.test_algoperf_logs import medians

LOGS = ROOT.parent / "shared" / "algoperf_logs"

PUBLISHED = {  # algoperf.md (e); the leaderboards of mlcommons/submissions_algorithms
    "algoperf-v0.5-self": {
        "schedule_free_adamw": 0.8542,
        "baseline": 0.8194,
        "nadamw_sequential": 0.3308,
        "sinv6_75": 0.1420,
        "sinv6": 0.0903,
        "adamg": 0.0,
    },
    "algoperf-v0.6-external": {"shampoo": 0.6244, "baseline": 0.4590},
    "algoperf-v0.6-self": {"schedule_free_adamw_v2": 0.75},  # not published: alone, it solves 6 of 8
}
PUBLISHED_BASES = {w.name for w in config.load_logs("algoperf-v0.6-external").workload}
FOLDERS = {
    "algoperf-v0.5-self": "self_tuning",
    "algoperf-v0.6-external": "external_tuning_v06",
    "algoperf-v0.6-self": "self_tuning_v06",
}


@pytest.fixture(scope="session")
def official(tmp_path_factory):
    """name -> Results of an official board; its logs are unpacked once a session."""
    if not LOGS.is_dir():
        pytest.skip("no official logs of AlgoPerf: shared/algoperf_logs beside the clone")
    folder, known = tmp_path_factory.mktemp("official"), {}

    def read(name):
        if name not in known:
            with tarfile.open(LOGS / f"{FOLDERS[name]}.tar.gz") as archive:
                archive.extractall(folder, filter="data")
            known[name] = results.read(folder / FOLDERS[name], name)
        return known[name]

    return read


def raw(path: pathlib.Path, workloads):
    """Logs for the oracle, read with nothing of ours."""
    logs = collections.defaultdict(lambda: collections.defaultdict(dict))
    for file in sorted(path.glob("*/study_*/*/trial_*/eval_measurements.csv")):
        submission, study, folder, *_ = file.relative_to(path).parts
        name = folder.rpartition("_")[0]
        if name in workloads:
            with file.open(newline="") as handle:
                rows = list(csv.DictReader(handle))
            metric = f"validation/{workloads[name].metric}"
            logs[submission][name].setdefault(study, []).append(
                [(float(r["score"]), float(r[metric] or "nan")) for r in rows]
            )
    return {s: {w: list(studies.values()) for w, studies in by.items()} for s, by in logs.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_official_board_gives_every_published_score_to_four_decimals(official, name):
    found = {s: round(score, 4) for s, score in scoring.board_scores(official(name).board).items()}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_official_board_agrees_with_the_second_implementation(official, name):
    found = official(name)
    info = {w.name: w for w in config.load_logs(name).workload}
    logs = raw(found.path, info)
    workloads = {w.name: (w.direction, w.target, w.held_out_of) for w in info.values()}
    assert scoring.board_scores(found.board) == pytest.approx(algoperf_rule.scores(logs, workloads), abs=1e-12)
    expected = algoperf_rule.medians(logs, workloads)
    for submission, row in medians(found.board).items():
        assert row == pytest.approx(expected[submission], nan_ok=True, rel=1e-15)


@pytest.mark.parametrize("name", ["algoperf-v0.5-self", "algoperf-v0.6-external"])
def test_frozen_reference_times_are_the_baselines_medians_or_the_budget(official, name):
    found = official(name)
    baseline = medians(found.board)["baseline"]
    for workload in found.board.base:
        time = baseline[workload.name]
        assert workload.reference == pytest.approx(time if math.isfinite(time) else workload.budget, abs=0.05)
    assert all(workload.reference == 0 for workload in found.board.workloads if workload.held_out_of)


@pytest.mark.parametrize("name", ["algoperf-v0.5-self", "algoperf-v0.6-external"])
def test_baseline_scores_its_share_of_hits_against_itself(official, name):
    found = official(name)
    hits = [math.isfinite(time) for w, time in medians(found.board)["baseline"].items() if w in PUBLISHED_BASES]
    row = next(row for row in results.summarise(found)["scores"] if row["submission"] == "baseline")
    assert row["score_vs_reference"] == sum(hits) / 8
    assert len(hits) == 8


@pytest.mark.parametrize(
    ("logs", "name", "seen"),
    [
        ("algoperf-v0.5-self", "algoperf-v0.6-self", "most trials that missed ran on to 2.1 times the budget and more"),
        ("algoperf-v0.5-self", "algoperf-v0.5-external", "most trials that missed ran on to 3 times the budget and more"),
        ("algoperf-v0.6-external", "algoperf-v0.6-self", "most studies have 5 trials, the board has 1"),
        ("algoperf-v0.6-external", "algoperf-v0.5-self", "most studies have 5 trials, the board has 1"),
    ],
)
def test_logs_of_another_official_board_are_told_first_and_not_compared(official, logs, name, seen):
    kind, text = results.read(official(logs).path, name).about.notes[0]
    assert kind == "another board?"
    assert text.startswith(f"These may be logs of another board than {name}: ")
    assert seen in text
    with pytest.raises(errors.UserError, match=seen):
        compare.compare("baseline", "shampoo", board=str(official(logs).path), benchmark=name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_logs_of_the_board_itself_raise_no_doubt(official, name):
    assert "another board?" not in dict(official(name).about.notes)


def test_official_speedups_are_those_of_algoperfs_script(official):
    found = official("algoperf-v0.5-self").board
    base = [i for i, w in enumerate(found.workloads) if w.held_out_of is None]
    times = scoring.medians(scoring.study_times(found, "seconds"), found.rules)[:, base]
    values = scoring.speedups(times, found.entrants.index("baseline"), found.limits[base])
    got = dict(zip(found.entrants, values.tolist(), strict=True))
    assert round(got["schedule_free_adamw"], 4) == 0.9224
    assert round(got["nadamw_sequential"], 3) == 1.924
    assert round(got["adamg"], 2) == 3.94
    assert got["baseline"] == 1.0
    assert math.isnan(got["sinv6"])
    assert math.isnan(got["sinv6_75"])


def test_official_board_tells_what_is_absent_and_what_is_short(official):
    notes = dict(official("algoperf-v0.5-self").about.notes)
    assert "sinv6 on criteo1tb, sinv6 on criteo1tb_embed_init, sinv6_75 on criteo1tb" in notes["absent"]
    assert notes["studies"].endswith("adamg on librispeech_conformer_layernorm (4).")
    notes = dict(official("algoperf-v0.6-external").about.notes)
    assert notes["no measurements"].startswith("4 trial folders")
    assert "baseline on imagenet_vit (3), shampoo on imagenet_vit (1)" in notes["no measurements"]
    assert "baseline on imagenet_vit (3), shampoo on imagenet_vit (1)" in notes["trials"]
    assert [kind for kind, _ in official("algoperf-v0.6-self").about.notes] == ["no reference", "ended early"]


def test_official_held_outs_are_columns_that_do_not_score(official):
    board = official("algoperf-v0.5-self").board
    assert len(board.workloads) == 14
    assert len(board.base) == 8
    assert {board.workloads[h].name: board.workloads[b].name for h, b in board.held_out} == {
        "criteo1tb_embed_init": "criteo1tb",
        "fastmri_tanh": "fastmri",
        "imagenet_resnet_large_bn_init": "imagenet_resnet",
        "librispeech_conformer_layernorm": "librispeech_conformer",
        "ogbg_model_size": "ogbg",
        "wmt_glu_tanh": "wmt",
    }
    assert official("algoperf-v0.6-external").board.held_out == ()


def test_official_board_is_scored_with_all_that_belongs_to_it(official):
    found = results.summarise(official("algoperf-v0.6-external"))
    json.dumps(found, allow_nan=False)
    assert (found["rules"], found["status"], found["units"], found["headline"]) == ("algoperf", "scored", "s", "pairs")
    assert {row["submission"]: round(row["score"], 4) for row in found["scores"]} == PUBLISHED["algoperf-v0.6-external"]
    assert round(found["speedups"]["time_ratio"]["shampoo"], 4) == 0.8469
    assert found["time_to_target"]["baseline"]["imagenet_vit"] is None
    assert {flag["kind"] for flag in found["flags"]} == {
        *("no measurements", "not a number", "trials", "ended early", "coarse")
    }


def test_docs_show_the_ablations_that_reorder_the_v05_self_board(official):
    found = official("algoperf-v0.5-self")
    rows = scoring.ablate(found.board, found.curves)
    two = ("schedule_free_adamw", "baseline")
    shown = [
        f"| {row.rule} | {' | '.join(f'{row.scores[name]:.3f}' for name in two)} | {row.swaps} |"
        for row in rows
        if row.kind == "as it is" or row.swaps
    ]
    text = (ROOT / "docs/scoring.md").read_text()
    table = text.partition("<!-- ablations: begin -->\n")[2].partition("<!-- ablations: end -->")[0]
    assert table.splitlines()[2:] == shown
    assert f"These rows of {len(rows) - 1}" in text
