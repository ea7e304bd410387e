"""The files beside the page: tables read back, figures for papers."""

import csv
import math

import numpy as np
import pytest

from algoperf_lite import cli, results
from algoperf_lite.cli import report_
from algoperf_lite.report import figure_data, page, paper_tables, print_figures, svg, tables, text
from tests import algoperf_logs, synthetic_run

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


def test_print_figures_have_true_type_and_the_colours_of_the_page(write):
    pytest.importorskip("matplotlib")
    path = write(entrants=("nadamw", "lion", "sgd", "muon", "soap"))
    assert (path / "figures" / "profile_bands.pdf").exists()  # of five, bands in one figure would hide one another
    pdf = (path / "figures" / "times.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf
    drawing = (path / "figures" / "times.svg").read_text(encoding="utf-8")
    assert {colour for colour in svg.LIGHT if colour in drawing} == set(svg.LIGHT[:5])


def test_print_figures_tell_a_missed_study_a_miss_and_no_trial_apart():
    figure = pytest.importorskip("matplotlib.figure")
    axes, nan, inf = figure.Figure().subplots(), math.nan, math.inf
    times = np.array([[10, 11, inf], [inf, inf, 12], [nan, nan, nan]])
    found = figure_data.Dots(np.array([11, inf, inf]), np.full((3, 2), nan), times)
    counts = []
    for i in range(3):
        before = len(axes.lines)
        print_figures._row(axes, i, found, lambda share: 2 + share)
        rings = [line for line in axes.lines[before:] if line.get_markerfacecolor() == "none"]
        counts.append(sum(len(line.get_xdata()) for line in rings))
    assert counts == [1, 1, 0]
    assert [text.get_text() for text in axes.texts] == ["no trial"]


@pytest.mark.parametrize(
    ("out", "page_at"), [("folder", "folder/report.html"), ("new/", "new/report.html"), ("a/b.html", "a/b.html")]
)
def test_report_goes_into_a_file_or_a_folder(tmp_path, monkeypatch, capsys, out, page_at):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    synthetic_run.write(tmp_path / "run", synthetic_run.benchmark(), hit)
    assert cli.main(cli.parser().parse_args(["report", "run", "--out", out, "--light"])) == 0
    assert (tmp_path / page_at).exists()
    assert capsys.readouterr().out == f"report: {page_at}\n"  # no hint at --light, which was given


def test_report_refuses_another_suffix_and_hints_at_a_smaller_page(tmp_path, monkeypatch, capsys):
    path = synthetic_run.write(tmp_path / "run", synthetic_run.benchmark(), hit)
    assert cli.main(cli.parser().parse_args(["report", str(path), "--out", "page.pdf"])) == 2
    assert capsys.readouterr().err == (
        "error: --out page.pdf: accepted are a file that ends in .html, and a folder (page.pdf/)\n"
    )
    monkeypatch.setattr(report_, "LARGE", 1000)
    assert cli.main(cli.parser().parse_args(["report", str(path)])) == 0
    assert "--light leaves the interactive figures out" in capsys.readouterr().out


def test_paper_tables_are_made_to_be_read(write):
    path = write(points=2)
    read = {
        name: (path / "tables" / name).read_text(encoding="utf-8") for name in ("medians.tex", "scores.md", "pairs.tex")
    }
    assert read["medians.tex"].splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Median reference steps to target & nadamw & lion \\",
        r"\midrule",
        r"digits & \textbf{260} & 350 \\",
        r"words & \textbf{260} & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    head, rule, first, _ = read["scores.md"].splitlines()
    assert head == "| Rank (95 %) | Submission | Score (95 %) |"  # no column of gaps: the reference's times are unknown
    assert rule == "| --: | :-- | --: |"
    assert first == "| 1 (1\N{EN DASH}1) | nadamw | 1.000 (1.000\N{EN DASH}1.000) |"
    assert "nadamw & lion & better & 0.7" in read["pairs.tex"]


def test_empty_tables_are_not_written_and_old_ones_go(tmp_path):
    path = synthetic_run.write(tmp_path / "run", synthetic_run.benchmark(), hit)
    page.write(path, light=True)
    assert (path / "tables" / "pairs.tex").exists()
    assert not list((path / "tables").glob("tuning*"))  # one trial per study
    next(path.glob("trials/*/outcome.json")).unlink()
    page.write(path, light=True)
    assert {file.stem for file in (path / "tables").iterdir()} == {"trials"}


def test_logs_repeat_no_seconds(tmp_path):
    benchmark = algoperf_logs.benchmark(tmp_path / "board.toml", {"w": "loss"}, trials=1)
    logs = algoperf_logs.write(tmp_path / "logs", {"w": "loss"}, {"a": {"w": [[algoperf_logs.hit(40.0)]]}})
    page.write(logs, tmp_path / "out" / "report.html", light=True, benchmark=benchmark)
    head = (tmp_path / "out" / "tables" / "medians.csv").read_text(encoding="utf-8").splitlines()[0]
    assert head.count("seconds") == 1


def test_latex_escapes_what_latex_would_read():
    found = paper_tables.latex(paper_tables.Table("t", ("a_b",), (("50% & _x_~^",), (text.MISS,), ("a\\b",))))
    assert r"a\_b" in found
    assert r"50\% \& \_x\_\textasciitilde{}\textasciicircum{}" in found
    assert r"a\textbackslash{}b" in found
    assert "--" in found


def test_markdown_escapes_pipes():
    assert "a\\|b" in paper_tables.markdown(paper_tables.Table("t", ("x",), (("a|b",),)))
