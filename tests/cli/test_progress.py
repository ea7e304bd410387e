"""What a person sees while a benchmark runs."""

import pytest

from algoperf_lite import search
from algoperf_lite.cli import progress
from tests import synthetic_run


def test_a_dry_run_says_how_long_it_goes_on_by_the_rows_it_has(monkeypatch, capsys):
    now = iter([100.0, 110.0, 110.0, 160.0, 160.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.Progress() as shown:
        shown("row", workload="w", entrant="a", done=1, total=4)
        shown("row", workload="w", entrant="b", done=3, total=4)
    assert capsys.readouterr().out.splitlines() == ["[1/4] a on w; 30 s to go", "[3/4] b on w; 20 s to go"]


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (99.4, "99 s"), (150.0, "2 min"), (0.0, "0 s")])
def test_durations_are_short(seconds, text):
    assert progress._minutes(seconds) == text


@pytest.mark.parametrize(
    ("hit", "smoke", "said"),
    [
        (4, False, "target reached after 40 charged reference steps (0.4 s); "),
        (None, False, "budget exhausted, best accuracy 0.888 (target 0.9); "),
        (None, True, "ran; "),
    ],
)
def test_trial_that_missed_says_how_near_it_came(hit, smoke, said, capsys):
    board = synthetic_run.benchmark(entrants=("nadamw",), workloads=("digits",), studies=1, smoke=smoke)
    (spec,) = search.trials(board)
    outcome = synthetic_run.outcome(synthetic_run.events(spec, hit), hit, **({} if hit else {"best": 0.888}))
    with progress.Progress() as shown:
        shown("plan", benchmark=board, missing=[spec])
        shown.ended(spec, outcome)
    assert capsys.readouterr().out.splitlines()[-1] == f"[1/1] digits nadamw study 0 trial 0: {said}0 s to go"
