"""Coverage and error rates by simulation: a few scenarios here, all of them in `make test-long` (P15-P17, P26)."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from benchmarks.coverage import Scenario
from scoring import statistics

BOARDS = 150


def outside(*rows):
    return coverage.outside({"rows": rows})


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(3, 4, True),
        Scenario(3, 4, False, correlation=0.3),
        Scenario(5, 2, True),
        Scenario(5, 4, True, first_has=3),
        Scenario(5, 4, False, variants=6, misses=0.1),
    ],
    ids=str,
)
def test_intervals_cover_and_are_no_wider_than_they_must(scenario):
    assert not outside(coverage.measure("coverage", scenario, BOARDS))


def test_interval_from_0_to_1_is_outside(monkeypatch):
    def anything(times, score, *, against, draws):
        rank = np.tile([1, len(times)], (len(times), 1))
        return statistics.ScoreIntervals(
            np.tile([0.0, 1.0], (len(times), 1)), rank, np.tile([0.0, 1.0], (len(times), 1)), None
        )

    monkeypatch.setattr(statistics, "score_intervals", anything)
    for scenario in (Scenario(3, 4, False), Scenario(3, 8, False, correlation=0.3, misses=0.1)):
        row = coverage.measure("coverage", scenario, 20)
        assert row["found"]["score"] == 1
        for name in ("score", "score_vs_reference", "rank"):
            assert any(f"width of {name} " in line for line in outside(row)), name


def test_interval_that_is_too_narrow_is_outside(monkeypatch):
    chosen = statistics.score_intervals

    def narrow(*args, **more):
        found = chosen(*args, **more)
        assert found is not None
        middle = found.score.mean(axis=-1, keepdims=True)
        ranks = np.repeat(found.rank[:, :1], 2, axis=1)
        return dataclasses.replace(found, score=middle + (found.score - middle) / 2, rank=ranks)

    monkeypatch.setattr(statistics, "score_intervals", narrow)
    text = "\n".join(outside(coverage.measure("coverage", Scenario(3, 4, True), 100)))
    assert ": score 0." in text
    assert ": rank 0." in text


def test_simulation_sees_an_interval_that_does_not_cover():
    # The ways that were not taken: one set of studies for the board, and percentiles that are not centred.
    found = coverage.alternatives(Scenario(3, 8, True), 40)
    assert found["board, centred"][1] < 0.85
    assert found["cell"][0] < 0.9
    assert found["chosen, centred"][0] > found["chosen"][0]


@pytest.mark.parametrize("scenario", [Scenario(5, 2, True, first_has=1), Scenario(2, 4, True, correlation=0.3)], ids=str)
def test_fewer_than_three_studies_would_not_cover(scenario):
    # Why `score_intervals` gives none. The others' scores hang on the time of the one that has no spread, too.
    assert max(coverage.alternatives(scenario, 60)["chosen, centred"]) < 0.88


def test_tied_entrants_are_seldom_judged_different():
    # 2,000 boards; with the looks of one pair alone at alpha 0.05 this would be 0.12.
    rate = coverage.false_verdicts(Scenario(3, 2, True), 2000)["any"]
    assert 0 < rate <= stats.binom.ppf(0.99, 2000, 0.05) / 2000


def test_simulated_noise_is_what_the_scenario_says():
    scenario = Scenario(3, 2, True, correlation=0.3, seeds=0.2)
    noise = np.log(scenario.boards(np.random.default_rng(0), 20_000)) / coverage.SPREAD
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise[:, 0, 0] * noise[:, 0, 1]).mean() == pytest.approx(0.3, abs=0.02)
    assert (noise[:, 0, 0] * noise[:, 1, 0]).mean() == pytest.approx(0.2, abs=0.02)
    assert (noise[:, 0, 0] * noise[:, 1, 1]).mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("missing", "second"), [("all", 0.3), ("first", 0)])
def test_simulated_misses_are_what_the_scenario_says(missing, second):
    scenario = Scenario(3, 2, True, misses=0.3, missing=missing, variants=1)
    missed = np.isinf(scenario.boards(np.random.default_rng(0), 20_000)).mean(axis=(0, 3))
    assert missed[0] == pytest.approx([0.3, 0] * 4 + [0.3], abs=0.01)
    assert missed[1] == pytest.approx([second, 0] * 4 + [second], abs=0.01)


def test_simulated_boards_have_the_studies_and_variants_of_the_scenario():
    uneven = np.isnan(Scenario(5, 2, True, first_has=2).boards(np.random.default_rng(0), 3))
    assert (~uneven).sum(axis=-1).tolist() == [[[2] * 8, [5] * 8]] * 3
    # Two entrants alike, but the first fails the variant of workload 1: the score loses an eighth, the reference's nothing.
    medians = np.ones((2, 10))
    medians[0, 9] = np.inf
    found = Scenario(3, 2, True, variants=2).statistics(medians)
    assert found["score"] == pytest.approx([7 / 8, 1])
    assert found["score_vs_reference"] == pytest.approx([1, 1])
    assert found["rank"].tolist() == [2, 1]


def test_docs_show_the_record():
    record = json.loads((coverage.RESULTS / "coverage.json").read_text())
    text = coverage.summary(record)
    assert coverage.write_docs(text) == coverage.DOCS.read_text()
    assert (coverage.RESULTS / "coverage.md").read_text() == coverage.full_table(record) + "\n"


def test_record_is_complete_and_within_bounds():
    record = json.loads((coverage.RESULTS / "coverage.json").read_text())
    assert not coverage.outside(record)
    for kind, scenarios in (
        ("coverage", coverage.grid()),
        ("errors", coverage.tied_grid()),
        ("methods", coverage.compared()),
    ):
        recorded = [row["scenario"] for row in record["rows"] if row["kind"] == kind]
        assert recorded == [dataclasses.asdict(scenario) for scenario in scenarios]
        assert min(row["boards"] for row in record["rows"] if row["kind"] == kind) >= 200
    assert coverage.outside({"rows": [{**row, "found": {**row["found"], "score": 0.8}} for row in record["rows"]]})


@pytest.mark.long
@pytest.mark.parametrize("scenario", coverage.grid(), ids=str)
def test_intervals_cover_everywhere(scenario):
    assert not outside(coverage.measure("coverage", scenario, 500))


@pytest.mark.long
@pytest.mark.parametrize("scenario", coverage.tied_grid(), ids=str)
def test_tied_fields_are_seldom_split(scenario):
    assert not outside(coverage.measure("errors", scenario, 2000))
