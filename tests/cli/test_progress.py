"""What a person sees while a benchmark runs."""

import pytest

from algoperf_lite.cli import progress


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
