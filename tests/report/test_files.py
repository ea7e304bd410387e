"""The files beside the page: tables read back, figures for papers."""

import csv

import pytest

from algoperf_lite import results
from algoperf_lite.report import page, tables
from tests import synthetic_run

TABLES = ("medians", "scores", "pairs", "ablations_ranks", "ablations_scores", "tuning", "trials")


def hit(entrant, workload, study, trial):
    """Lion misses words; the rest differ a little."""
    if (entrant, workload) == ("lion", "words"):
        return None
    return {"lion": 34}.get(entrant, 25) + study + 2 * trial


@pytest.fixture
def write(tmp_path):
    """Writes a board and its report; returns the run's folder."""

    def make(**fields):
        path = synthetic_run.write(tmp_path / "run", synthetic_run.benchmark(**fields), hit)
        page.write(path, light=True)
        return path

    return make


def rows(path, name):
    return list(csv.DictReader((path / "tables" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def test_every_table_is_written_and_medians_come_first(write):
    path = write(points=2)
    found = results.read(path)
    names = [table.name for table in tables.tables(found, results.summarise(found))]
    assert names == list(TABLES)
    for name in TABLES:
        assert rows(path, name), name
        assert (path / "tables" / f"{name}.md").exists() == (name != "trials")
        assert (path / "tables" / f"{name}.tex").exists() == (name != "trials")


def test_tables_hold_the_numbers_of_the_board(write):
    path = write(points=2)
    medians = rows(path, "medians")
    assert [(r["workload"], r["submission"]) for r in medians][:2] == [("digits", "nadamw"), ("digits", "lion")]
    assert float(medians[0]["reference_steps"]) == 260
    assert float(medians[0]["ci95_low"]) < 260 < float(medians[0]["ci95_high"])
    assert medians[3]["reference_steps"] == ""  # a miss is a gap
    assert len(rows(path, "trials")) == 24
    assert rows(path, "trials")[0]["hparams"] == '{"learning_rate": 1.0}'
    assert {r["rank"] for r in rows(path, "scores")} == {"1", "2"}
    ranks = rows(path, "ablations_ranks")
    assert ranks[0]["kind"] == "as it is"
    assert (ranks[0]["nadamw"], ranks[0]["lion"]) == ("1", "2")
    assert rows(path, "ablations_scores")[0]["nadamw"] == "1.0"
    tuning = [r for r in rows(path, "tuning") if (r["workload"], r["submission"]) == ("words", "lion")]
    assert [(r["k"], float(r["p_hit"]), r["best_given_hit"]) for r in tuning] == [("1", 0, ""), ("2", 0, "")]
    assert (path / "tables" / "pairs.md").read_text(encoding="utf-8").startswith("| a | b | time_ratio |")


def test_tables_read_back_from_parquet(write):
    polars = pytest.importorskip("polars")
    path = write(points=2)
    for name in TABLES:
        frame = polars.read_parquet(path / "tables" / f"{name}.parquet")
        assert frame.height == len(rows(path, name))
    assert dict(frame.group_by("hit").len().iter_rows()) == {True: 18, False: 6}
    assert frame.filter(~frame["hit"])["reference_steps"].is_infinite().all()


def test_page_says_where_parquet_is_left_out(write, monkeypatch):
    monkeypatch.setattr(tables, "parquet_available", lambda: False)
    path = write()
    assert "polars is not installed" in (path / "report.html").read_text(encoding="utf-8")
    assert list((path / "tables").glob("*.parquet")) == []


def test_print_figures_are_pdf_and_svg(write):
    pytest.importorskip("matplotlib")
    path = write(points=2)
    names = {file.name for file in (path / "figures").iterdir()}
    stems = ("profile", "times", "curves_digits", "curves_words", "tuning_digits", "tuning_words")
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg")}
    for file in (path / "figures").iterdir():
        start = file.read_bytes()[:400]
        assert start.startswith(b"%PDF-") if file.suffix == ".pdf" else b"<svg" in start or b"<?xml" in start


def test_latex_escapes_what_latex_would_read():
    found = tables.latex(tables.Table("t", ("a_b",), (("50% & _x_",), (None,))))
    assert r"a\_b" in found
    assert r"50\% \& \_x\_" in found
    assert "--" in found


def test_markdown_escapes_pipes():
    assert "a\\|b" in tables.markdown(tables.Table("t", ("x",), (("a|b",),)))
