"""Logs that are not as they should be: one message that names file, line and mend, or a note; never half a score."""

import math
import os

import pytest

import scoring
from algoperf_lite import errors, results
from tests import algoperf_logs as made

GOOD = made.text([(10.0, 0.1), (20.0, 0.2), (30.0, 0.3), (40.0, 0.6)], "accuracy")
LINES = GOOD.splitlines()
INF, NAN = math.inf, math.nan


@pytest.fixture
def damaged(logs):
    """The file of one trial of three; `logs` with that file rewritten."""
    return logs[0] / "a" / "study_1" / "w_jax" / "trial_1" / "eval_measurements.csv"


def edit(line, column, value):
    """GOOD with one cell changed; line 1 is the header."""
    rows = [text.split(",") for text in LINES]
    rows[line - 1][column] = value
    return "".join(",".join(row) + "\n" for row in rows)


def times(factor):
    """GOOD in another unit of time."""
    return made.text([(10.0 * factor * (i + 1), 0.1 + 0.2 * (i == 3)) for i in range(4)], "accuracy")


def metric(values):
    return made.text([(10.0 * (i + 1), value) for i, value in enumerate(values)], "accuracy")


AGAIN, CORRECT = "copy the file again", "correct the line"
REFUSED = {  # name -> (content, line, what is said, mend)
    "cut in a field": (GOOD[: GOOD.index("0.3") - 2], 4, "2 fields, the header has 4", AGAIN),
    "cut in a line": (GOOD[: GOOD.index("31,40.0")] + "31,40.0\n", 5, "2 fields, the header has 4", "delete the line"),
    "cut in the last number": (GOOD[:-2], 5, "its last number may be cut off", "delete the line"),
    "whole but for the end of the line": (GOOD[:-1], 5, "the last line does not end", "end it if it is whole"),
    "too many fields": (GOOD.replace("30.0,0.3,", "30.0,0,3,"), 4, "5 fields, the header has 4", AGAIN),
    "cut in the header": (
        LINES[0][:-3],
        1,
        "no column 'score' among ['global_step', 'accumulated_submission_time', 'sc']",
        AGAIN,
    ),
    "no column of the metric": (
        GOOD.replace("validation/accuracy", "validation/ssim"),
        1,
        "no column 'validation/accuracy' among ['validation/ssim']",
        "another workload's file?",
    ),
    "no column of time": (GOOD.replace(",score", ",seconds"), 1, "no column 'score'", AGAIN),
    "no column of steps": (GOOD.replace("global_step", "step"), 1, "no column 'global_step'", AGAIN),
    "no header": ("\n".join(LINES[1:]) + "\n", 1, "no column 'global_step'", AGAIN),
    "metric twice": (
        GOOD.replace("accumulated_submission_time", "validation/accuracy"),
        1,
        "'validation/accuracy' stands 2 times",
        "remove all but one",
    ),
    "time twice": (
        GOOD.replace("accumulated_submission_time", "score"),
        1,
        "column 'score' stands 2 times",
        "remove all but one",
    ),
    "milliseconds": (times(1000), 5, "score ends at 40000", "convert score to seconds"),
    "minutes": (
        times(1 / 60),
        5,
        "score ends at 0.666667 after 4 evaluations; accepted: seconds",
        "convert score to seconds",
    ),
    "hours": (times(1 / 3600), 5, "score ends at 0.0111111", "convert score to seconds"),
    "milliseconds, two evaluations": (
        made.text([(10000.0, 0.1), (50001.0, 0.6)], "accuracy"),
        3,
        "score ends at 50001",
        "convert score to seconds",
    ),
    "two times that differ": (edit(4, 3, "20.5"), 4, "score and accumulated_submission_time differ", "correct one of them"),
    "per cent": (metric([0.5, 22.0, 60.0, 71.5]), 3, "validation/accuracy is outside 0 to 1", "per cent? convert it"),
    "below the range": (metric([0.5, -0.2]), 3, "validation/accuracy is outside 0 to 1", "convert it"),
    "text for the metric": (edit(3, 2, "n/a"), 3, "validation/accuracy is 'n/a', accepted: a number", CORRECT),
    "text in a number": (edit(3, 2, "0.2O"), 3, "validation/accuracy is '0.2O', accepted: a number", CORRECT),
    "text for the step": (edit(5, 0, "last"), 5, "global_step is 'last'", CORRECT),
    "text for the time": (edit(2, 3, "10 s"), 2, "score is '10 s'", CORRECT),
    "text for the other time": (edit(2, 1, "10 s"), 2, "accumulated_submission_time is '10 s'", CORRECT),
    "blank step": (edit(3, 0, ""), 3, "global_step is not a finite number", CORRECT),
    "infinite step": (edit(5, 0, "inf"), 5, "global_step is not a finite number", CORRECT),
    "blank time": (edit(3, 3, ""), 3, "score, the seconds since the start, is not a finite number", CORRECT),
    "time nan": (edit(5, 3, "nan"), 5, "is not a finite number", CORRECT),
    "time inf": (edit(5, 3, "inf"), 5, "is not a finite number", CORRECT),
    "time goes back": (
        made.text([(10.0, 0.1), (20.0, 0.2), (15.0, 0.6)], "accuracy"),
        4,
        "score, the seconds since the start, goes back",
        "two runs in one file? keep one",
    ),
    "steps go back": (edit(4, 0, "2"), 4, "global_step does not grow", "two runs in one file? keep one"),
    "step zero": (edit(2, 0, "0"), 2, "global_step does not grow from above 0", "keep one"),
    "negative time": (made.text([(-10.0, 0.1), (20.0, 0.6)], "accuracy"), 2, "is not above 0", AGAIN),
    "time zero": (made.text([(0.0, 0.6), (20.0, 0.6)], "accuracy"), 2, "is not above 0", AGAIN),
    "two files in one": (GOOD + GOOD, 6, "global_step is 'global_step'", CORRECT),
    "semicolons": (GOOD.replace(",", ";"), 1, "no column 'global_step'", "the separator must be a comma"),
    "seconds since the first evaluation": (
        made.text([(0.002, 0.1), (10.0, 0.2), (20.0, 0.6)], "accuracy"),
        4,
        "score ends at 20 after 3 evaluations; accepted: seconds",
        "convert score to seconds",
    ),
    "nul bytes": ("\0" * 64, 1, "no column 'global_step' among ['\\x00", AGAIN),
    "nul bytes in a line": (GOOD.replace("0.3", "0\0.3"), 4, "validation/accuracy is '0\\x00.3'", CORRECT),
    "not utf-8": (GOOD.encode().replace(b"0.3", b"0.\xff3"), 4, "not UTF-8 text", AGAIN),
    "utf-16": (GOOD.encode("utf-16"), 1, "not UTF-8 text", AGAIN),
    "a page of html": (
        "<!doctype html>\n<title>404</title>\n",
        1,
        "no column 'global_step' among ['<!doctype html>']",
        AGAIN,
    ),
    "a quote that never ends": (GOOD.replace("0.3", '"0.3'), 4, "3 fields, the header has 4", AGAIN),
    "a field without end": (
        GOOD.replace("0.3", '"0.3') + "x" * 140_000,
        4,
        "not CSV: field larger than field limit",
        AGAIN,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_file_that_cannot_be_right_is_refused_with_file_line_and_mend(name, logs, damaged, say):
    content, line, said, mend = REFUSED[name]
    damaged.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = say(logs[0], "--benchmark", logs[1], "--json")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {damaged}:{line}: ")
    assert said in err
    assert mend in err
    assert err.count("\n") == 1
    assert len(err) - len(str(damaged)) < 320


def test_metric_in_per_cent_of_errors_is_refused_where_it_can_be_told(tmp_path):
    benchmark = tmp_path / "board.toml"
    made.benchmark(benchmark, {"w": "loss"})
    benchmark.write_text(benchmark.read_text().replace('"loss"', '"wer"'))
    text = made.text([(10.0, 98.0), (20.0, 12.0), (30.0, 8.5)], "wer")
    made.write(tmp_path / "logs", {"w": "loss"}, {"a": {"w": [[made.hit(30.0)]]}})
    file = tmp_path / "logs/a/study_0/w_jax/trial_1/eval_measurements.csv"
    file.write_text(text)
    with pytest.raises(errors.UserError, match="csv:2: validation/wer is never below 5: in per cent") as caught:
        results.read(tmp_path / "logs", str(benchmark))
    assert "convert it" in str(caught.value)
    for values in ((98.0, 4.9, NAN), (98.0, 60.0, NAN)):  # insertions alone, or too few values to tell: no per cent
        file.write_text(made.text([(10.0 * (i + 1), value) for i, value in enumerate(values)], "wer"))
        assert results.read(tmp_path / "logs", str(benchmark)).board.trials[0].hit is False


@pytest.mark.parametrize("other", ["trial_01", "../w_pytorch/trial_1"])
def test_trial_that_is_there_twice_is_refused(other, logs, damaged, say):
    twin = (damaged.parents[1] / other).resolve()
    twin.mkdir(parents=True)
    (twin / damaged.name).write_text(GOOD)
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert str(twin) in err
    assert str(damaged.parent) in err
    assert "trial 1 of w in study 1 of a" in err
    assert "move one of them away" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("learning rate 0.1", "malformed"),
        ("", "truncated"),
        ("[0.1]", "Expected `object`, got `array`"),
        ('{"lr": NaN}', "malformed"),
        ('{"lr": 0.', "invalid number"),
        (b"\xff\xfe", "malformed"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
    ],
    ids=str,
)
def test_hyperparameters_that_are_no_json_are_refused(content, said, logs, damaged, say):
    file = damaged.with_name("hparams.json")
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {file}: accepted: one JSON object of hyperparameters; ")
    assert said in err
    assert AGAIN in err


def test_directory_in_place_of_a_file_is_refused(logs, damaged, say):
    damaged.unlink()
    damaged.mkdir()
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {damaged}: cannot be read: Is a directory; {AGAIN}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("up", [0, 1, 3])
def test_unreadable_file_or_folder_is_refused(up, logs, damaged, say):
    closed = [damaged, *damaged.parents][up]
    closed.chmod(0)
    try:
        code, out, err = say(logs[0], "--benchmark", logs[1])
    finally:
        closed.chmod(0o755)
    assert (code, out) == (2, "")
    assert "cannot be read: Permission denied" in err


def test_folder_that_cannot_be_listed_is_refused(logs, damaged, say, monkeypatch):
    listed = os.scandir

    def scandir(path):
        if str(path) == str(damaged.parents[1]):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert err == f"error: {damaged.parents[1]}: cannot be read: Permission denied; make it readable or copy it again\n"


@pytest.mark.parametrize("target", ["nowhere", "study_9"])
def test_link_that_leads_nowhere_is_refused(target, logs, say):
    link = logs[0] / "a" / "study_9"
    link.symlink_to(target)  # to nothing, or to itself
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert err == f"error: {link} is a link that leads nowhere: mend or remove it\n"


# ------------------------------------------------------------------------------------------------------------- notes


def seconds(found):
    """{submission: {workload: median}}."""
    table = scoring.medians(scoring.study_times(found.board, "seconds"), found.board.rules)
    return {
        name: {w.name: float(value) for w, value in zip(found.board.workloads, row, strict=True)}
        for name, row in zip(found.board.entrants, table, strict=True)
    }


def test_good_logs_have_no_notes(logs):
    found = results.read(*logs)
    assert found.about.notes == ()
    assert seconds(found) == {"a": {"w": 40.0, "v": 40.0}, "b": {"w": 60.0, "v": 60.0}}


@pytest.mark.parametrize("content", [None, "", "\n\n", LINES[0], LINES[0] + "\n", LINES[0] + "\n\n"])
def test_trial_without_evaluations_is_dropped_and_told(content, logs, damaged):
    damaged.unlink() if content is None else damaged.write_text(content)
    found = results.read(*logs)
    assert seconds(found)["a"]["w"] == 40.0
    assert len(found.board.trials) == 11
    notes = dict(found.about.notes)
    assert notes.keys() == {"no measurements", "studies"}
    assert notes["no measurements"] == "1 trial folders have no evaluations: a on w (1)."
    assert notes["studies"].endswith("as AlgoPerf does: a on w (2).")


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "inf", "-inf"])
def test_metric_that_is_no_number_is_told(cell, logs, damaged):
    damaged.write_text(edit(5, 2, cell))
    found = results.read(*logs)
    notes = dict(found.about.notes)
    assert notes["not a number"] == "Trials with validation metrics that are no numbers, which never hit: a on w (1)."
    assert notes.keys() == {"not a number", "ended early"}
    assert scoring.study_times(found.board, "seconds")[0, 0].tolist() == [40.0, INF, 40.0]


def test_trial_that_ended_well_before_its_budget_is_told(logs, damaged):
    budget, period = made.BUDGET_S, made.PERIOD_S
    for end, told in ((budget - 2 * period, False), (budget - 2 * period - 1, True), (budget + period, False)):
        damaged.write_text(made.text([(period, 0.1), (end, 0.2)], "accuracy"))
        found = results.read(*logs)
        outcome = "ended_early" if told else "budget_exhausted"
        assert next(row for row in found.board.trials if row.key == ("a", "w", 1, 1)).outcome == outcome
        assert [(kind, text.endswith(" a on w (1).")) for kind, text in found.about.notes] == [("ended early", True)] * told


def test_board_without_any_evaluation_is_refused(logs, say):
    for file in logs[0].rglob("*.csv"):
        file.write_text("")
    code, out, err = say(logs[0], "--benchmark", logs[1])
    assert (code, out) == (2, "")
    assert err == f"error: {logs[0]}: none of its 12 trial folders has evaluations in eval_measurements.csv\n"


def test_folders_of_no_known_meaning_are_ignored_and_told(logs):
    folder = logs[0]
    (folder / "a" / "trial_1").mkdir()
    (folder / "a" / "study_1" / "w").mkdir()
    (folder / "a" / "study_1" / "w_mxnet" / "trial_1").mkdir(parents=True)
    (folder / "a" / "study_1" / "w_jax" / "trial_1 (copy)").mkdir()
    (folder / "a" / "study_1" / "w_jax" / "trial_1" / "checkpoints").mkdir()
    (folder / "a" / "study_one" / "w_jax" / "trial_1").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for file in ("index.csv", "a/README.md", "a/study_1/notes.txt", "a/study_1/w_jax/log"):
        (folder / file).write_text("x")
    found = results.read(*logs)
    notes = dict(found.about.notes)
    assert "were ignored: a/study_1/w, a/study_1/w_jax/trial_1 (copy), a/study_1/w_mxnet and 2 more." in notes["strays"]
    assert notes["without trials"] == "Folders without a trial of this board are not on it: .cache."
    assert notes.keys() == {"strays", "without trials"}
    assert seconds(found)["a"]["w"] == 40.0


def test_links_are_followed(logs, tmp_path):
    (logs[0] / "a").rename(tmp_path / "elsewhere")
    (logs[0] / "a").symlink_to(tmp_path / "elsewhere")
    assert seconds(results.read(*logs))["a"] == {"w": 40.0, "v": 40.0}


@pytest.mark.parametrize("name", ["my method", "<b>bold</b>".replace("/", "\N{FRACTION SLASH}"), "Ünïcode", "a,b|c", "-x"])
def test_submission_of_any_name_is_itself(name, logs):
    (logs[0] / "a").rename(logs[0] / name)
    found = results.read(*logs)
    assert set(found.board.entrants) == {name, "b"}
    assert seconds(found)[name]["w"] == 40.0


FORMS = {
    "step twice": edit(5, 0, "21"),  # evaluated again after a restart: the time has gone on
    "quoted": "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in LINES),
    "crlf": GOOD.replace("\n", "\r\n"),
    "byte-order mark": "\ufeff" + GOOD,
    "blank lines": GOOD.replace("\n", "\n\n"),
    "spaces": GOOD.replace(",0.", ", 0."),
    "no second time": "\n".join(",".join(line.split(",")[i] for i in (0, 2, 3)) for line in LINES) + "\n",
    "steps as floats": GOOD.replace("31,", "31.0,"),
    "capital exponent": GOOD.replace("40.0", "4E1"),
}


@pytest.mark.parametrize("name", FORMS)
def test_file_that_is_written_another_way_reads_the_same(name, logs, damaged):
    damaged.write_bytes(FORMS[name].encode())
    found = results.read(*logs)
    assert found.about.notes == ()
    curve = found.curves["a", "w", 1, 1]
    assert curve.values.tolist() == [0.1, 0.2, 0.3, 0.6]
    assert curve.times["seconds"].tolist() == [10.0, 20.0, 30.0, 40.0]
    assert curve.times["steps"].tolist() == [1.0, 11.0, 21.0, 21.0 if name == "step twice" else 31.0]


def test_file_of_forty_columns_in_another_order_reads_the_same(logs, damaged):
    rows = [line.split(",") for line in LINES]
    wide = []
    for i, (step, twin, value, score) in enumerate(rows):
        more = [f"test/m{k}" if i == 0 else ("" if k % 3 else "text, or not") for k in range(36)]
        wide.append([f'"{cell}"' if "," in cell else cell for cell in (value, *more[:20], score, *more[20:], twin, step)])
    damaged.write_text("".join(",".join(row) + "\n" for row in wide))
    found = results.read(*logs)
    assert found.curves["a", "w", 1, 1].values.tolist() == [0.1, 0.2, 0.3, 0.6]
    assert seconds(found)["a"]["w"] == 40.0
