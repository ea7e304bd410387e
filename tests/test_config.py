"""Benchmark files: what is read, and one message with file and line for what is wrong."""

import re

import pytest

from algoperf_lite import config, errors, registry

GOOD = """# A board.
name = "mine"
version = 1
ruleset = "self"
workloads = ["digits_vit", "w.py"]
submissions = ["nadamw", "aa=nadamw", "b=sub/b.py"]

[[entrant]]
name = "c"
source = "c.py"
"""


def _file(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_benchmark_file_is_read_with_defaults_and_paths_from_its_own_folder(tmp_path):
    found = config.load_benchmark(str(_file(tmp_path, GOOD)))
    assert (found.name, found.version, found.ruleset, found.seed, found.studies) == ("mine", 1, "self", 0, 3)
    assert (found.run_past, found.paired) == (False, False)
    assert found.workloads == ["digits_vit", str(tmp_path / "w.py")]
    assert list(found.submissions) == ["nadamw", "aa=nadamw", f"b={tmp_path / 'sub/b.py'}"]
    assert [(e.name, e.source) for e in found.entrant] == [("c", str(tmp_path / "c.py"))]


@pytest.mark.parametrize("name", sorted(registry.names("benchmarks")))
def test_shipped_benchmark_is_read_and_names_what_there_is(name):
    found = config.load_benchmark(name)
    assert set(found.workloads) <= set(registry.names("workloads"))
    assert set(config.entrants(found.submissions).values()) <= set(registry.names("submissions"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("version = 1", "version = "), "mine.toml: not valid TOML: Invalid value (at line 3"),
        (("version = 1", "version = 1\nsede = 3"), "mine.toml:4: 'sede'; did you mean 'seed'?"),
        (("version = 1", 'version = "one"'), "mine.toml:3: Expected `int`, got `str` - at `$.version`"),
        (("version = 1\n", ""), "mine.toml: Object missing required field `version`"),
        (('"self"', '"both"'), "mine.toml:4: Invalid enum value 'both' - at `$.ruleset`"),
        (('"digits_vit"', "3"), "mine.toml:5: Expected `str`, got `int` - at `$.workloads"),
        (('["digits_vit", "w.py"]', "[]"), "mine.toml: workloads is empty"),
        (("version = 1", "version = 1\nstudies = 0"), "mine.toml:4: studies is 0, accepted: 1 or more"),
        (("version = 1", "version = 1\nseed = -1"), "mine.toml:4: seed is -1, accepted: 0 to 2147483647"),
        (('source = "c.py"', 'source = "c.py"\ncolour = 1'), "colour"),
    ],
    ids=lambda v: None if isinstance(v, tuple) else re.sub(r"\W+", "_", v)[:40],
)
def test_benchmark_file_that_is_wrong_is_answered_with_file_and_line(change, message, tmp_path):
    path = _file(tmp_path, GOOD.replace(*change))
    assert path.read_text() != GOOD
    with pytest.raises(errors.UserError, match=re.escape(message)) as caught:
        config.load_benchmark(str(path))
    assert str(tmp_path) in str(caught.value)


def test_benchmark_file_that_is_no_text_is_answered(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(errors.UserError, match="not UTF-8 text"):
        config.load_benchmark(str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demmo", "unknown benchmark 'demmo'; did you mean 'demo'?"),
        ("./no_such.toml", "benchmark file not found: ./no_such.toml"),
    ],
)
def test_unknown_benchmark_is_answered(name, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        config.load_benchmark(name)


def test_entrants_are_named_by_themselves_or_by_their_source():
    assert config.entrants(["nadamw", "mine=my.py", "a/other.py", "pkg.mod"]) == {
        "nadamw": "nadamw",
        "mine": "my.py",
        "other": "a/other.py",
        "mod": "pkg.mod",
    }


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["nadamw", "nadamw"], "entrant 'nadamw' is there twice"),
        (["a b=my.py"], "entrant name 'a b'"),
        (["=my.py"], "entrant name ''"),
        (["x" * 65 + "=my.py"], "1-64 letters"),
    ],
)
def test_entrants_without_proper_unique_names_are_refused(items, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        config.entrants(items)
