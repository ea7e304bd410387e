"""The page in a real browser, Debian's Chromium by playwright: it asks nobody, complains of nothing, fits the screen."""

import dataclasses
import shutil

import msgspec
import pytest

from algoperf_lite import results
from algoperf_lite.report import page
from tests import synthetic_run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

PHONE, DESKTOP = (390, 844), (1280, 900)
PATIENCE_MS = 60_000  # two busy cores
NASTY = "<img src=x onerror=alert(1)></script><script>alert(2)</script>&amp;\"'<b>bold"
LONG = "distributed_shampoo_with_a_block_size_of_1024_and_grafting"
ENTRANTS = (NASTY, LONG, "adamw", "lion", "sgd", "muon", "soap", "prodigy", "lamb", "adafactor", "nesterov", "nadamw")
WORKLOADS = ("digits", "words", "a_workload_with_a_very_long_name_that_goes_on_and_on")


def hit(entrant, workload, study, trial):
    """All kinds of times; the third workload is out of reach."""
    time = 12 + 3 * ENTRANTS.index(entrant) + study + 4 * trial
    return time if workload != WORKLOADS[2] and time <= synthetic_run.EVALUATIONS else None


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A run directory of twelve entrants, with HTML wherever a file may bring some."""
    made = synthetic_run.benchmark(entrants=ENTRANTS, workloads=WORKLOADS, points=3, manifest={NASTY: NASTY})
    points = [[{"learning_rate": 10.0**-k, "kind": f"{NASTY}{k}"} for k in range(3)] for _ in range(3)]
    entrants = [msgspec.structs.replace(entrant, points=points, source=NASTY) for entrant in made.entrants]
    return synthetic_run.write(tmp_path_factory.mktemp("run"), msgspec.structs.replace(made, entrants=entrants), hit)


def rendered(board, light):
    found = results.read(board)
    file = board / f"{'light' if light else 'full'}.html"
    file.write_text(page.render(found, results.summarise(found), light), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def light(board):
    """The page with plain figures."""
    return rendered(board, light=True)


@pytest.fixture(scope="module")
def full(board):
    """The page with plotly."""
    pytest.importorskip("plotly")
    return rendered(board, light=False)


@dataclasses.dataclass
class Visit:
    """An open page, the addresses that it asked for, and what it complained of."""

    page: "sync_api.Page"
    asked: list[str]
    complaints: list[str]

    def draw_all(self):
        """Scroll past all figures, as a reader does, and wait until they are drawn; return their number."""
        count = self.page.locator("script.twin, script.trials").count()
        for i in range(count):
            block = self.page.locator("script.twin, script.trials").nth(i)
            block.evaluate("block => block.parentElement.scrollIntoView()")
            self.page.wait_for_function("n => document.querySelectorAll('.drawn .plot-container').length > n", arg=i)
        return count


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Opens a page in a fresh context."""
    contexts = []

    def make(file, size=DESKTOP, **context):
        touch = {"has_touch": True, "is_mobile": True} if size == PHONE else {}
        opened = browser.new_context(viewport={"width": size[0], "height": size[1]}, **touch, **context)
        contexts.append(opened)
        opened.set_default_timeout(PATIENCE_MS)
        tab, asked, complaints = opened.new_page(), [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.goto(file.as_uri())
        return Visit(tab, asked, complaints)

    yield make
    for opened in contexts:
        opened.close()


def clean(seen):
    """Nothing was asked for but the page itself and what lies inside it, and nothing was said."""
    strangers = [url for url in seen.asked if not url.startswith(("data:", "blob:"))]
    assert strangers == [seen.page.url]
    assert seen.complaints == []


def fits(seen):
    """The page does not scroll sideways (wide tables do, in their own box), and no figure leaves it."""
    width = seen.page.viewport_size["width"]
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    ends = seen.page.eval_on_selector_all(
        "figure > svg, .live, .explorer, figcaption, pre, .legend",
        "all => all.map(e => e.getBoundingClientRect()).filter(r => r.width).map(r => [r.left, r.right])",
    )
    assert len(ends) > 10
    assert min(left for left, _ in ends) >= 0
    assert max(right for _, right in ends) <= width


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_page_asks_nobody_complains_of_nothing_and_fits(visit, full, size, scheme, script):
    seen = visit(full, size, color_scheme=scheme, java_script_enabled=script)
    if script:
        assert seen.draw_all() == 1 + len(WORKLOADS) + 1  # profile, curves, hyperparameters
        assert seen.page.locator(".drawn > svg >> visible=true").count() == 0
    else:
        assert seen.page.locator(".explorer").is_hidden()
        assert seen.page.locator("figure > svg >> visible=true").count() == seen.page.locator("figure").count()
    assert seen.page.locator("table.matrix").first.is_visible()
    assert "muon" in seen.page.locator("table.matrix").first.inner_text()
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) if scheme == "dark" else (min(ground) > 200)
    fits(seen)
    clean(seen)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_light_page_fits_and_has_no_script(visit, light, size):
    seen = visit(light, size)
    assert seen.page.locator("script").count() == 0
    fits(seen)
    clean(seen)


def test_html_in_names_is_text(visit, full):
    seen = visit(full)
    seen.draw_all()
    assert seen.page.locator("img").count() == 0
    assert seen.page.locator("a").count() == 0
    for where in (".headline", "table.matrix >> nth=0", "select >> nth=2", ".panels.mini", "dl"):
        assert NASTY in seen.page.locator(where).evaluate("e => e.textContent"), where
    clean(seen)


def test_html_in_hyperparameters_is_text_on_hover(visit, full):
    seen = visit(full)
    seen.draw_all()
    seen.page.locator("select").nth(2).select_option(LONG)
    box = seen.page.locator(".explorer .scatterlayer .point").first.bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    hover = seen.page.locator(".explorer .hoverlayer .hovertext")
    hover.wait_for()
    assert f"kind {NASTY}" in hover.evaluate("e => e.textContent")
    assert seen.page.locator("img").count() == 0
    clean(seen)


def test_menus_choose_what_the_explorer_shows(visit, full):
    seen = visit(full)
    seen.draw_all()
    marks = seen.page.locator(".explorer .scatterlayer .point")
    assert marks.count() == len(ENTRANTS) * 3 * 3
    seen.page.locator("select").nth(2).select_option("lion")
    assert marks.count() == 3 * 3
    seen.page.locator("select").nth(0).select_option("kind")
    assert seen.page.locator(".explorer .xtitle").text_content() == "kind"
    seen.page.locator("select").nth(1).select_option(WORKLOADS[2])
    heights = marks.evaluate_all("all => all.map(e => e.getBoundingClientRect().y)")
    assert max(heights) - min(heights) < 1  # all of them misses
    clean(seen)


def test_a_finger_on_a_figure_scrolls_the_page(visit, full):
    seen = visit(full, PHONE)
    seen.draw_all()
    assert seen.page.evaluate("matchMedia('(pointer: coarse)').matches")
    send = seen.page.context.new_cdp_session(seen.page).send
    for figure in (".few .live", ".explorer .live", "figure > svg >> nth=0"):
        target = seen.page.locator(figure).first
        target.evaluate("e => e.scrollIntoView({block: 'center'})")
        before = seen.page.evaluate("scrollY")
        box = target.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for down in range(15, 151, 15):
            send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y + down}]})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        seen.page.wait_for_function("before => scrollY < before - 100", arg=before)
    clean(seen)


def test_figures_shrink_and_grow_with_the_window(visit, full):
    seen = visit(full, (900, 900))
    seen.draw_all()
    for width in (390, 900):
        seen.page.set_viewport_size({"width": width, "height": 844})
        same = (
            "() => [...document.querySelectorAll('.live')].every(e => e.querySelector('svg').clientWidth === e.clientWidth)"
        )
        seen.page.wait_for_function(same)
        fits(seen)
    clean(seen)


def test_phone_shows_the_ratio_of_a_pair_without_scrolling(visit, light):
    seen = visit(light, PHONE)
    seen.page.locator("details:has(table.pairs) > summary").click()
    box = seen.page.locator("table.pairs tbody tr >> nth=0 >> td >> nth=3").bounding_box()
    assert box["x"] > 0
    assert box["x"] + box["width"] <= PHONE[0]


def test_figures_follow_a_change_to_dark(visit, full):
    seen = visit(full, color_scheme="light")
    seen.draw_all()
    colour = "getComputedStyle(document.querySelector('.explorer .xtick text')).fill"
    before = seen.page.evaluate(colour)
    seen.page.emulate_media(color_scheme="dark")
    seen.page.wait_for_function(f"before => {colour} !== before", arg=before)
    clean(seen)


def test_paper_shows_the_still_figures(visit, full):
    seen = visit(full)
    seen.draw_all()
    seen.page.emulate_media(media="print")
    assert seen.page.locator(".live >> visible=true").count() == 0
    assert seen.page.locator("figure > svg >> visible=true").count() == seen.page.locator("figure").count()


def test_a_request_an_error_and_a_wide_page_would_be_noticed(visit, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<div style="width:3000px">x</div><img src="http://127.0.0.1:9/x.png"><script>undefined.x</script>')
    seen = visit(bad)
    assert "http://127.0.0.1:9/x.png" in seen.asked
    assert any("undefined" in text for text in seen.complaints)
    with pytest.raises(AssertionError):
        clean(seen)
    with pytest.raises(AssertionError):
        fits(seen)
