"""With plotly the page is interactive, still whole, and asks nobody. `test_browser` opens it."""

import html.parser
import json
import math
import re

import pytest

from algoperf_lite import results, storage
from algoperf_lite.report import figures, interactive, page
from tests import synthetic_run

NASTY = "</script><script>alert('x')</script>&\"<a href='https://example.org'>"


def hit(entrant, workload, study, trial):
    """Lion misses words."""
    return None if (entrant, workload) == ("lion", "words") else 25 + study


@pytest.fixture
def run(tmp_path):
    """A finished run directory, by names of entrants."""

    def make(*entrants, **fields):
        board = synthetic_run.benchmark(entrants=entrants or ("nadamw", "lion"), **fields)
        return synthetic_run.write(tmp_path / "run", board, hit)

    return make


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text of every script."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def outside_library(markup):
    """The page without the text of plotly.js, which holds addresses (of maps) that these figures never ask."""
    return re.sub(r'<script id="plotly">.*?</script>', "", markup, flags=re.DOTALL)


def test_interactive_page_embeds_one_library_and_keeps_the_still_figures(run):
    pytest.importorskip("plotly")
    markup = page.write(run()).read_text(encoding="utf-8")
    found = Elements(markup)
    assert markup.count('<script id="plotly">') == 1
    assert len(markup) < 8e6
    assert found.count("figure") == 5  # profile, and of two workloads dots and curves: each with its SVG
    assert markup.count("<figure>") == len(re.findall(r"</figcaption><svg ", markup))
    assert len([1 for tag, attrs in found.tags if attrs.get("class") == "twin"]) == 3
    assert found.count("link") == found.count("iframe") == found.count("base") == 0
    for tag, attrs in found.tags:
        assert not {"src", "href", "srcset", "data", "action"} & attrs.keys(), (tag, attrs)
    assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest", outside_library(markup))


def test_interactive_figures_hold_the_numbers_of_the_still_ones(run):
    pytest.importorskip("plotly")
    path = run()
    found = Elements(page.write(path).read_text(encoding="utf-8"))
    blocks = [json.loads(text) for text in found.scripts if text.startswith('{"data"')]
    board = results.read(path)
    profile, digits, _ = blocks
    lines = [trace for trace in profile["data"] if "meta" in trace]
    assert [trace["meta"] for trace in lines] == ["lion", "nadamw"]  # the first entrant on top
    assert len(digits["data"]) == 2 + 2  # thin and bold, of each entrant
    trace = digits["data"][1]  # the thin lines of nadamw, with a gap after each
    (first, _), (second, text), _ = trace["labels"]
    assert text.startswith("nadamw, study 1, trial 0<br>learning_rate")
    curve = board.curves["nadamw", "digits", 1, 0]
    assert trace["x"][first : first + second] == [*curve.times["reference_steps"], None]
    assert trace["y"][first : first + second - 1] == pytest.approx(curve.values, rel=1e-5)
    assert digits["layout"]["shapes"][0]["y0"] == 0.9
    low, high = digits["layout"]["yaxis"]["range"]
    assert low < 0.9 < high


def test_explorer_has_a_mark_for_every_trial_and_an_axis_for_every_hyperparameter(run):
    pytest.importorskip("plotly")
    path = run("nadamw", "lion", points=3)
    markup = page.write(path).read_text(encoding="utf-8")
    block = next(json.loads(text) for text in Elements(markup).scripts if '"workloads"' in text[:4000])
    assert block["axes"] == [{"title": "learning_rate", "type": "log", "dtick": 1}]
    trials = block["workloads"]["words"]["trials"]
    assert len(trials) == 2 * 3 * 3
    board = results.read(path).board
    times = sorted(
        trial.reference_steps for trial in board.trials if (trial.submission, trial.workload) == ("nadamw", "words")
    )
    assert sorted(time for entrant, time, *_ in trials if entrant == 0) == times
    missed = [wins for entrant, _, wins, *_ in trials if entrant == 1]  # lion misses words
    assert missed == [-1] * 9
    assert block["workloads"]["words"]["words"][-1] == "miss"
    for option in ("learning_rate", "digits", "words", "nadamw", "lion"):
        assert f">{option}</option>" in markup


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1e-4, 1e-1], "log"),
        ([0.1, 0.3], "linear"),
        ([0, 1], "linear"),
        (["cosine", "wsd"], "category"),
        ([True], "category"),
    ],
)
def test_axis_of_a_hyperparameter_suits_its_values(values, kind):
    points = {"w": [[figures.Point(0, k, 10.0 + k, True, "") for k in range(len(values))]]}
    markup = interactive.explorer(["a"], points, {"w": [[{"x": value} for value in values]]}, "steps")
    assert f'"type":"{kind}"' in markup.split('"workloads"')[0]


def test_names_stay_text_in_interactive_figures(run):
    pytest.importorskip("plotly")
    markup = page.write(run(NASTY, "lion")).read_text(encoding="utf-8")
    found = Elements(markup)
    assert found.count("script") == 3 + 2  # twins; library and drawing
    assert found.count("a") == 0
    assert "<script>alert" not in markup
    meta = json.loads(next(text for text in found.scripts if text.startswith('{"data"')))["data"][-1]["meta"]
    assert "<" not in meta
    assert "&lt;a href" in meta


def test_light_page_and_page_without_plotly_have_no_script(run, monkeypatch):
    path = run()
    light = page.write(path, light=True).read_text(encoding="utf-8")
    monkeypatch.setattr(interactive, "available", lambda: False)
    plain = page.write(path).read_text(encoding="utf-8")
    assert light == plain
    assert Elements(light).count("script") == 0
    assert "drag to zoom" not in light
    assert len(light) < 300_000


def test_a_gap_in_a_curve_is_null(monkeypatch):
    line = ([1.0, 2.0, 3.0], [0.5, None, math.nan])
    block = interactive.curves("t", [(0, line, "a\nb")], [], 0.9, figures.limits([line], 0.9, True))
    assert '"y":[0.5,null,null,null]' in block
    assert '"labels":[[4,"a\\u003cbr>b"]]' in block


def test_standard_error_is_shown_beside_the_target_where_events_carry_it(run):
    path = run()
    assert "standard error of one" not in page.write(path, light=True).read_text(encoding="utf-8")
    for file in path.glob("trials/*/events.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:  # the nearest to the target is the hit, 0.902
            value = line["validation"]["accuracy"]
            line["validation"]["accuracy_se"] = 0.0123 if value == 0.902 else 0.5
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    markup = page.write(path, light=True).read_text(encoding="utf-8")
    assert markup.count("accuracy ≥ 0.9 (standard error of one evaluation 0.012)") == 2


def test_smoke_board_has_curves_and_no_profile(tmp_path):
    pytest.importorskip("plotly")
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(smoke=True), hit)
    markup = page.write(path).read_text(encoding="utf-8")
    assert markup.count('class="twin"') == 2
    for file in path.glob("trials/*/*"):  # and a board without any trial needs no library
        file.unlink()
    assert storage.RunDirectory(path).trial_specs() == {}
    assert "<script" not in page.write(path).read_text(encoding="utf-8")
