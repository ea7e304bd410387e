"""What the terminal prints, and in which words: whole numbers, names that stay apart, no more than is known."""

import io
import itertools

import msgspec
import pytest
from rich.console import Console

from algoperf_lite import cli, errors, results, search
from algoperf_lite.report import standing, terminal, text
from tests import synthetic_run

NASTY = "<script>alert('x')</script>&\"[bold]"


def hit(entrant, workload, study, trial):
    """Lion misses words; the rest differ a little."""
    if (entrant, workload) == ("lion", "words"):
        return None
    return {"lion": 34}.get(entrant, 25) + study


def printed(summary, width=None):
    """What the terminal shows; without a width what a pipe gets."""
    stream = io.StringIO()
    terminal.print_summary(summary, Console(file=stream, width=width, force_terminal=width is not None, color_system=None))
    return stream.getvalue()


def test_terminal_summary_names_the_verdict_and_survives_markup_in_names(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(entrants=(NASTY, "lion")), lambda *_: 20)
    found = printed(results.score(path))
    assert "equivalent" in found
    assert found.index("Time to target") < found.index("Pairs") < found.index("\nScore\n")
    assert found.count("     1         1 to 1") == 2  # ranks, shared
    assert "[bold]" in found


LONG = [f"distributed_shampoo_of_block_size_{size}_with_grafting" for size in (1024, 4096)]


@pytest.mark.parametrize("width", [80, None])
def test_terminal_breaks_no_number_and_keeps_names_apart(tmp_path, width):
    board = synthetic_run.benchmark(entrants=("nadamw", *LONG, "lion", "sgd"), workloads=("digits", "a" * 70))
    path = synthetic_run.write(tmp_path, board, lambda e, w, s, t: hit(e, w, s, t) and 3 * len(e) % 37 + 5 + s)
    summary = results.score(path)
    for cell in (cell for row in summary["cells"].values() for cell in row.values()):
        cell.update(median=1234567.0, ci95=[1123456.0, 1345678.0])
    found = printed(summary, width)
    lines = found.splitlines()
    assert max(map(len, lines)) <= 80 or width is None
    assert [line for line in lines if line != line.rstrip()] == []
    rows = [line for line in lines if "1,234,567" in line]
    assert len(rows) == 5 * 2
    assert all("1,123,456 to 1,345,678" in row for row in rows)
    assert len({row.split()[0] for row in rows}) == 5
    if width is None:
        assert f"  {LONG[0]} " in found
    else:
        assert "\N{HORIZONTAL ELLIPSIS}" in found


def test_names_are_cut_where_they_stay_different():
    assert text.elided(["short", "a_long_name_one", "a_long_name_two"], 9) == {
        "short": "short",
        "a_long_name_one": "a_lo\N{HORIZONTAL ELLIPSIS}_one",
        "a_long_name_two": "a_lo\N{HORIZONTAL ELLIPSIS}_two",
    }
    alike = [f"abcdefghij{k}klmnopqrst" for k in range(2)]
    found = text.elided(alike, 14)
    assert set(map(len, found.values())) == {14}
    assert len(set(found.values())) == 2
    nearly = ["x" * 20 + k + "y" * 20 for k in "ab"]
    assert len(set(text.elided(nearly, 6).values())) == 2  # at the price of width


@pytest.mark.parametrize(
    ("times", "noise", "said"),
    [
        ({"nadamw": 10, "lion": 11, "sgd": 30, "muon": 40}, 4, "but is not separable from lion (0."),
        ({"nadamw": 10, "lion": 20, "sgd": 30, "muon": 40}, 0, "and is better than every other submission."),
        (
            {"nadamw": 10, "lion": 10, "sgd": 30, "muon": 40},
            0,
            "lion scores highest (1.000) but is equivalent to nadamw (1.",
        ),
    ],
)
def test_headline_says_whether_the_first_is_separable(tmp_path, times, noise, said):
    def hit(entrant, workload, study, trial):
        return times[entrant] + (noise * (study + len(entrant)) % 5 if noise else 0)

    board = synthetic_run.benchmark(entrants=tuple(times), studies=5)
    summary = standing.by_rank(results.score(synthetic_run.write(tmp_path, board, hit)))
    assert said in text.headline(summary)


def test_headline_of_a_direct_loser_and_of_nobody(tmp_path):
    row = {"submission": "a", "score": 0.8}
    pair = {"a": "b", "b": "a", "verdict": "better"}
    summary = {"status": "scored", "headline": "scores", "aa": [], "pairs": [pair]}
    assert "slower in the direct comparison than b (0.700)" in text.headline(
        summary | {"scores": [row, row | {"submission": "b", "score": 0.7}]}
    )
    assert text.headline(summary | {"scores": [row | {"score": 0.0}]}) == "No submission scores above 0."
    assert "alone" in text.headline(summary | {"scores": [row]})


def test_pairs_stand_by_rank_with_the_winner_first(tmp_path):
    board = synthetic_run.benchmark(entrants=("muon", "sgd", "lion", "nadamw"))
    times = {"nadamw": 10, "lion": 20, "sgd": 30, "muon": 40}
    summary = results.score(synthetic_run.write(tmp_path, board, lambda e, w, s, t: times[e]))
    assert summary["pairs"][0]["verdict"] == "worse"
    found = standing.by_rank(summary)
    assert found["entrants"] == list(times)
    assert [(p["a"], p["b"]) for p in found["pairs"]] == list(itertools.combinations(times, 2))
    assert {p["verdict"] for p in found["pairs"]} == {"better"}
    assert all(p["ratio"] < 1 and p["interval"][1] < 1 for p in found["pairs"])


def test_file_that_was_entered_twice_moves_no_place(tmp_path):
    """Ranked by seconds, in which nobody is charged the same twice, the twins part; the first place is still theirs."""
    board = synthetic_run.benchmark(entrants=("nadamw", "aa", "lion"))
    path = synthetic_run.write(tmp_path, board, lambda e, w, s, t: {"lion": 20}.get(e, 10))
    for spec in search.trials(board):
        if spec.entrant == "aa":
            file = path / "trials" / spec.id / "outcome.json"
            found = msgspec.json.decode(file.read_bytes())
            file.write_bytes(msgspec.json.encode(found | {"time_s": 1.01 * found["time_s"]}))
    summary = results.score(path)
    (seconds,) = [row for row in summary["ablations"] if row["rule"] == "ranked by seconds"]
    assert seconds["ranks"] == {"nadamw": 1, "aa": 2, "lion": 3}
    assert standing.moved(summary)[summary["ablations"].index(seconds)] == set()
    assert standing.changes(summary)["first"] == 0
    alone = synthetic_run.benchmark(entrants=("nadamw", "aa"))
    twins = results.score(synthetic_run.write(tmp_path / "alone", alone, lambda e, w, s, t: 10))
    assert standing.changes(twins) is None


def test_misses_have_their_best_metric_beside_them(tmp_path):
    board = synthetic_run.benchmark()
    path = synthetic_run.write(tmp_path, board, lambda e, w, s, t: 10 if e == "nadamw" else None)
    summary = results.score(path)
    lines = printed(summary).splitlines()
    (head,) = [line for line in lines if "best of misses" in line]
    missed = [line for line in lines if line.lstrip().startswith("lion") and "0/3" in line]
    assert len(missed) == 2
    for line, workload in zip(missed, ("digits", "words"), strict=True):
        assert f" {text.number(summary['cells']['lion'][workload]['best'])} " in line[head.index("best of misses") - 1 :]
    assert "best of misses" not in printed(results.score(synthetic_run.write(tmp_path / "b", board, lambda *w: 10)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, "(3 studies, 2 workloads)"), ({"studies": 1}, "As a rule"), ({"resolves": None}, "As a rule")],
)
def test_rule_of_thumb_stands_only_where_nothing_was_measured(fields, expected):
    summary = {"studies": 3, "workloads": ["a", "b", "c"], "held_out": {"c": "a"}, "resolves": 0.2} | fields
    found = text.resolving_power(summary)
    assert expected in found
    assert ("As a rule" in found) == (expected == "As a rule")


def test_seconds_of_several_machines_are_withheld(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(), hit)
    summary = results.score(path)
    assert "Seconds: one machine." in printed(summary)
    found = printed(summary | {"hosts": ["a", "b"]})
    assert "Seconds withheld: more than one machine." in found
    assert "seconds\n" not in found


@pytest.mark.parametrize(
    ("number", "noun", "expected"), [(1, "trial", "1 trial"), (2, "trial", "2 trials"), (2, "study", "2 studies")]
)
def test_counts_have_grammar(number, noun, expected):
    assert errors.counted(number, noun) == expected


@pytest.mark.parametrize("fields", [{"smoke": True}, {"studies": 1}])
def test_terminal_summary_of_a_board_without_verdict(tmp_path, fields):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(**fields), hit)
    stream = io.StringIO()
    terminal.print_summary(results.score(path), Console(file=stream, width=120))
    assert ("smoke" if "smoke" in fields else "One study") in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "\N{EN DASH}"), (0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_number_is_readable(value, expected):
    assert text.number(value) == expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [([None, None], "over 20 in all"), ([2, None], "2 or more"), ([2, 7], "2 to 7"), ([0, 0], "none")],
)
def test_further_studies_are_said_in_words(ends, expected):
    assert text.further(ends) == expected


def test_compare_keeps_workloads_apart_and_says_the_level_in_words(tmp_path, capsys):
    workloads = (
        "digits",
        "a_workload_with_a_very_long_name_of_some_kind_1",
        "a_workload_with_a_very_long_name_of_some_kind_2",
    )
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(workloads=workloads), hit)
    args = cli.parser().parse_args(["compare", "lion", "nadamw", "--in", str(path)])
    assert cli.main(args) == 0
    found = capsys.readouterr().out
    lines = found.splitlines()
    assert [line for line in lines if line in workloads] == list(workloads)
    assert "     median  95 % interval  hits  seconds  A / B" in lines
    assert "A = lion is worse than B = nadamw" in found
    assert "interval at level 0.984 (one of four looks, Holm over the pairs of the board): it excludes 1 exactly" in found
    assert "Seconds: one machine." in found
