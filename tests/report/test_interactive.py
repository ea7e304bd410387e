"""With plotly the page is interactive, still whole, and asks nobody; the other files of extra `[report]` read back."""

import html.parser
import json
import math
import re
import shutil
import subprocess

import pytest

from algoperf_lite import records, results
from algoperf_lite.report import figures, interactive, page
from tests import synthetic_run

NASTY = "</script><script>alert('x')</script>&\"<a href='https://example.org'>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (  # Chromium's own errands, none of the page
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps"),
)


def hit(entrant, workload, study, trial):
    """Lion misses words."""
    return None if (entrant, workload) == ("lion", "words") else 25 + study


@pytest.fixture
def run(tmp_path):
    """A finished run directory, by names of entrants."""

    def make(*entrants):
        board = synthetic_run.benchmark(entrants=entrants or ("nadamw", "lion"))
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
    assert found.count("figure") == 4  # dots, profile, two workloads: each with its SVG
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
    assert [trace["meta"] for trace in profile["data"]] == ["lion", "nadamw"]  # the first entrant on top
    assert len(digits["data"]) == 6 + 2
    trial = board.runs["nadamw", "digits", 1, 0]
    mine = [t for t in digits["data"] if t["meta"].startswith("nadamw, study 1, trial 0<br>learning_rate")]
    assert mine[0]["x"] == [event.reference_steps for event in trial.events]
    assert mine[0]["y"] == pytest.approx([event.validation["accuracy"] for event in trial.events], rel=1e-5)
    assert digits["layout"]["shapes"][0]["y0"] == 0.9
    low, high = digits["layout"]["yaxis"]["range"]
    assert low < 0.9 < high


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
    assert '"y":[0.5,null,null]' in block
    assert '"meta":"a\\u003cbr>b"' in block


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


def test_trials_read_back_from_parquet(run):
    polars = pytest.importorskip("polars")
    path = run()
    page.write(path, light=True)
    frame = polars.read_parquet(path / "tables" / "trials.parquet")
    assert frame.height == len(results.read(path).board.trials) == 12
    by_hit = dict(frame.group_by("hit").len().iter_rows())
    assert by_hit == {True: 9, False: 3}
    assert frame.filter(~frame["hit"])["reference_steps"].is_infinite().all()


def test_print_figures_are_pdf_and_svg(run):
    pytest.importorskip("matplotlib")
    path = run()
    page.write(path, light=True)
    names = {file.name for file in (path / "figures").iterdir()}
    assert names == {f"{stem}.{kind}" for stem in ("profile", "curves_digits", "curves_words") for kind in ("pdf", "svg")}
    for file in (path / "figures").iterdir():
        start = file.read_bytes()[:400]
        assert start.startswith(b"%PDF-") if file.suffix == ".pdf" else b"<svg" in start or b"<?xml" in start


def test_smoke_board_has_curves_and_no_profile(tmp_path):
    pytest.importorskip("plotly")
    path = synthetic_run.write(tmp_path, synthetic_run.benchmark(smoke=True), hit)
    markup = page.write(path).read_text(encoding="utf-8")
    assert markup.count('class="twin"') == 2
    for file in path.glob("trials/*/*"):  # and a board without any trial needs no library
        file.unlink()
    assert records.RunDirectory(path).trial_specs() == {}
    assert "<script" not in page.write(path).read_text(encoding="utf-8")


def browse(page_path, folder):
    """The page as drawn, what its console said, and the http addresses that it asked for."""
    assert BROWSER is not None
    log = folder / "net.json"
    done = subprocess.run(
        [
            *(BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
            *("--virtual-time-budget=4000", "--dump-dom", page_path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line.rstrip(",") for line in log.read_text(encoding="utf-8").splitlines() if '"initiator":' in line]
    starts = [json.loads(line)["params"] for line in lines]
    asked = [start["url"] for start in starts if start["initiator"] != "not an origin"]  # those are Chromium's errands
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, console, [url for url in asked if url.startswith("http")]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("light", [True, False])
def test_browser_draws_the_page_without_an_error_or_a_request(run, tmp_path, light):
    if not light:
        pytest.importorskip("plotly")
    drawn, console, asked = browse(page.write(run(NASTY, "lion"), light=light), tmp_path)
    assert "<h2>Learning curves</h2>" in drawn
    assert len(re.findall(r'class="live js-plotly-plot"', drawn)) == (0 if light else 3)
    assert console == []
    assert asked == []


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_browser_would_notice_an_error_and_a_request(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://example.org/x.png"><script>undefined.x</script>')
    _, console, asked = browse(bad, tmp_path)
    assert any("TypeError" in line for line in console)
    assert asked
    assert set(asked) == {"http://example.org/x.png"}
