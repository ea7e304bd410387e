"""The page is whole, safe, and reads without a network."""

import html.parser
import re

import pytest

from algoperf_lite import results
from algoperf_lite.report import page
from tests import synthetic_run

NASTY = "<script>alert('x')</script>&\"[bold]"


def hit(entrant, workload, study, trial):
    """Lion misses words; the rest differ a little."""
    if (entrant, workload) == ("lion", "words"):
        return None
    return {"lion": 34}.get(entrant, 25) + study


@pytest.fixture
def write(tmp_path):
    """Writes a board and its report; returns the page's text and folder."""

    def make(board=None, hit=hit, unfinished=lambda spec: False, **outcome):
        path = synthetic_run.write(tmp_path / "run", board or synthetic_run.benchmark(), hit, unfinished, **outcome)
        out = page.write(path, light=True)
        return out.read_text(encoding="utf-8"), out.parent

    return make


class Loads(html.parser.HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name) for name, _ in attrs if name in ("src", "href", "srcset", "data", "action", "poster")]
        self.found += [(tag, "")] if tag in ("script", "link", "iframe", "object", "embed", "base") else []
        self.found += [(tag, name) for name, _ in attrs if name.startswith("on")]


def loads(markup):
    parser = Loads()
    parser.feed(markup)
    return parser.found


def test_page_loads_nothing_and_runs_nothing(write):
    markup, _ = write(synthetic_run.benchmark(entrants=("nadamw", "lion", "aa")))
    assert loads(markup) == []
    assert "url(" not in markup
    assert "@import" not in markup


def test_page_escapes_names(write):
    board = synthetic_run.benchmark(entrants=(NASTY, "lion"), manifest={"note": NASTY})
    markup, _ = write(board)
    assert loads(markup) == []
    assert "&lt;script&gt;" in markup


def test_page_marks_the_ranks_that_a_rule_moves(write):
    """Nadamw wins by digits alone, so a board without digits has lion in front."""
    times = {"nadamw": {"digits": 10, "words": 31}, "lion": {"digits": 38, "words": 30}, "sgd": {"digits": 45, "words": 46}}
    board = synthetic_run.benchmark(entrants=tuple(times))
    markup, _ = write(board, hit=lambda entrant, workload, study, trial: times[entrant][workload])
    part = markup[markup.index("How much does the ranking") :]
    row = part[part.index("without digits") :].split("</tr>")[0]
    assert re.findall(r'<b class="moved">(\d)</b>', row) == ["2", "1"]
    without_sgd = part[part.index("without sgd") :].split("</tr>")[0]  # the others only move up
    assert "moved" not in without_sgd
    assert re.search(r"Of \d+ changes \d+ moves? a rank, \d+ the first place", part)


def test_page_says_what_trials_bring_and_cost_where_a_study_has_several(write):
    markup, _ = write(synthetic_run.benchmark(points=3))
    assert "<h2>Tuning" in markup
    assert "hits within 3" in markup
    markup, _ = write()
    assert "<h2>Tuning" not in markup


def test_page_puts_medians_before_any_ranking(write):
    markup, _ = write(synthetic_run.benchmark(entrants=("nadamw", "lion", "sgd", "muon")))
    order = [
        "Time to target",
        "Ranking",
        "Performance profile",
        "Who is faster",
        "How much does the ranking",
        "Learning curves",
    ]
    places = [markup.index(f">{title}") for title in order]
    assert places == sorted(places)


def test_page_shows_pairs_first_in_a_small_field_and_the_ranking_in_a_large_one(write):
    small, _ = write()
    assert small.index("Who is faster") < small.index("<h2>Score")
    assert "lion" in small
    large, _ = write(synthetic_run.benchmark(entrants=("nadamw", "lion", "sgd", "muon")))
    assert large.index("<h2>Ranking") < large.index("Who is faster")


def test_page_holds_what_a_reader_needs(write):
    markup, _ = write(synthetic_run.benchmark(entrants=("nadamw", "lion", "aa")))
    for expected in (
        "expected score of a repeated board",
        "(3 studies, 2 workloads) is known to within a factor of",
        "Learning curves",
        "Control: the same file twice",
        "benchmark.json sha256",
        "algoperf-lite run synthetic --workloads digits,words --submissions nadamw,lion,aa=nadamw --seed 123456",
        "prefers-color-scheme:dark",
        "0 of 3",
        "miss",
    ):
        assert expected in markup, expected
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL))


@pytest.mark.parametrize(
    "fields",
    [
        {"unfinished": lambda spec: spec.study == 2},
        {"unfinished": lambda spec: True},
        {"board": synthetic_run.benchmark(smoke=True)},
        {"board": synthetic_run.benchmark(studies=1)},
        {"board": synthetic_run.benchmark(entrants=("nadamw",), workloads=("digits",))},
        {"hit": lambda *_: None},
        {"noisy": True, "test_missed": True},
        {"outcome": "error", "step": None, "time_s": None, "reference_steps": None, "best": None},
    ],
)
def test_page_is_written_whatever_is_missing(write, fields):
    markup, folder = write(**fields)
    assert markup.rstrip().endswith("</html>")
    assert (folder / "tables" / "trials.csv").exists() or "unfinished" in fields


def test_page_of_a_run_without_any_trial(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(), hit)
    for file in path.glob("trials/*/*"):
        file.unlink()
    markup = page.write(path).read_text()
    assert "12 trials missing" in markup
    assert "No evaluation yet" in markup


def test_page_of_unfinished_or_smoke_board_shows_no_score(write):
    for fields in ({"unfinished": lambda spec: spec.study == 2}, {"board": synthetic_run.benchmark(smoke=True)}):
        markup, _ = write(**fields)
        assert "<h2>Score" not in markup
        assert "Who is faster" not in markup


def test_page_goes_where_it_is_told(tmp_path):
    path = synthetic_run.write(tmp_path / "run", synthetic_run.benchmark(), hit)
    out = page.write(path, tmp_path / "elsewhere" / "page.html")
    assert out == tmp_path / "elsewhere" / "page.html"
    assert (tmp_path / "elsewhere" / "tables" / "scores.tex").exists()


def test_median_run_is_the_run_of_the_median_study(tmp_path):
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(points=2), lambda e, w, s, t: 20 + 3 * s + 10 * t)
    found = results.read(path)
    assert results.median_run(found, "nadamw", found.board.workloads[0]) == ("nadamw", "digits", 1, 0)
