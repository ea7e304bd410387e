"""Benchmark files: what is read, and one message with file and line for what is wrong."""

import re

import pytest

from algoperf_lite import config, errors, registry

GOOD = """# A board.
name = "mine"
version = 1
ruleset = "self"
workloads = ["digits_vit", "w.py"]
submissions = ["nadamw", "aa=nadamw", "b=sub/b.py", "m=b.py:rate=0.1", "sub/a.py:space.json"]

[[entrant]]
name = "c"
source = "c.py"

[[entrant]]
name = "d"
source = "lr=1/d.py:rate=0.1"
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
    assert list(found.submissions) == [
        "nadamw",
        "aa=nadamw",
        f"b={tmp_path / 'sub/b.py'}",
        f"m={tmp_path / 'b.py'}:rate=0.1",
        f"{tmp_path / 'sub/a.py'}:space.json",  # it is not here, so it is looked for beside the submission
    ]
    (tmp_path / "space.json").write_text("[]")
    assert found.workloads == config.load_benchmark(str(tmp_path / "mine.toml")).workloads
    again = config.load_benchmark(str(tmp_path / "mine.toml"))
    assert again.submissions[-1] == f"{tmp_path / 'sub/a.py'}:{tmp_path / 'space.json'}"
    assert [(e.name, e.source) for e in found.entrant] == [
        ("c", str(tmp_path / "c.py")),
        ("d", f"{tmp_path / 'lr=1/d.py'}:rate=0.1"),
    ]


LOGS = config.log_boards()


@pytest.mark.parametrize("name", sorted(set(registry.names("benchmarks")) - set(LOGS)))
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


# ------------------------------------------------------------------------------------------ boards of AlgoPerf's logs

BOARD = """kind = "algoperf-logs"
name = "mine"
version = 1
ruleset = "self"
studies = 3
trials = 1
budget_factor = 1.5

[[workload]]
name = "w"
metric = "loss"
direction = "min"
target = 0.5
budget_s = 100
eval_period_s = 10

[[workload]]
name = "w_tanh"
held_out_of = "w"
metric = "loss"
direction = "min"
target = 0.6
budget_s = 100
eval_period_s = 10
"""
BASES = [  # algoperf.md (b): metric, direction, target, evaluation period; budgets of v0.5 and v0.6
    ("criteo1tb", "loss", "min", 0.123735, 120, 7703, 7703),
    ("fastmri", "ssim", "max", 0.723653, 80, 8859, 4430),
    ("imagenet_resnet", "accuracy", "max", 0.77431, 510, 63008, 66159),
    ("imagenet_vit", "accuracy", "max", 0.77309, 420, 77520, 69768),
    ("librispeech_conformer", "wer", "min", 0.085884, 1440, 61068, 58015),
    ("librispeech_deepspeech", "wer", "min", 0.119936, 1440, 55506, 44405),
    ("ogbg", "mean_average_precision", "max", 0.28098, 240, 18477, 12011),
    ("wmt", "bleu", "max", 30.8491, 840, 48151, 43336),
]
HELD_OUT = {
    "criteo1tb_embed_init": ("criteo1tb", 0.129657),
    "fastmri_tanh": ("fastmri", 0.71784),
    "imagenet_resnet_large_bn_init": ("imagenet_resnet", 0.76526),
    "librispeech_conformer_layernorm": ("librispeech_conformer", 0.09731),
    "ogbg_model_size": ("ogbg", 0.269446),
    "wmt_glu_tanh": ("wmt", 29.5779),
}


def test_boards_of_logs_are_the_four_of_algoperf():
    assert [f"algoperf-{version}-{ruleset}" for version in ("v0.5", "v0.6") for ruleset in ("external", "self")] == LOGS


@pytest.mark.parametrize("name", LOGS)
def test_board_of_logs_is_that_of_the_reference(name):
    _, version, ruleset = name.split("-")
    board = config.load_logs(name)
    assert (board.name, board.ruleset, board.reference) == (name, ruleset, "baseline")
    assert (board.studies, board.trials) == ({"v0.5": 5, "v0.6": 3}[version], {"external": 5, "self": 1}[ruleset])
    assert board.budget_factor == {"v0.5-self": 3, "v0.6-self": 1.5}.get(f"{version}-{ruleset}", 1)
    column = 5 if version == "v0.5" else 6
    bases = [w for w in board.workload if w.held_out_of is None]
    rows = [(w.name, w.metric, w.direction, w.target, w.eval_period_s, w.budget_s) for w in bases]
    assert rows == [(*row[:5], row[column]) for row in BASES]
    variants = {w.name: (w.held_out_of, w.target) for w in board.workload if w.held_out_of is not None}
    assert variants == (HELD_OUT if version == "v0.5" else {})
    by_name = {w.name: w for w in board.workload}
    for variant in variants:
        base, twin = by_name[variants[variant][0]], by_name[variant]
        assert (twin.metric, twin.direction, twin.budget_s) == (base.metric, base.direction, base.budget_s)


def test_board_of_logs_is_no_benchmark_to_run_and_a_benchmark_to_run_no_board_of_logs():
    with pytest.raises(errors.UserError, match=r"can be scored, not run\n  algoperf-lite score LOGDIR --benchmark"):
        config.load_benchmark("algoperf-v0.5-self")
    with pytest.raises(errors.UserError, match=r"no board of AlgoPerf's logs(.|\n)*algoperf-v0.6-self"):
        config.load_logs("demo")
    assert config.is_logs("algoperf-v0.5-self")
    assert not config.is_logs("demo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("studies = 3", "studies = 0"), "mine.toml:5: Expected `int` >= 1"),
        (("budget_factor = 1.5", "budget_factor = 0"), "mine.toml:7: Expected `float` > 0"),
        (("budget_factor = 1.5", "budget_factor = inf"), "mine.toml:7: budget_factor is inf, accepted: a finite number"),
        (("0.6\nbudget_s = 100", "0.6\nbudget_s = inf"), "mine.toml:23: budget_s is inf, accepted: a finite number"),
        (("0.6\nbudget_s = 100", "0.6\nbudget_s = nan"), "mine.toml:23: "),
        (("= 10\n\n", "= inf\n\n"), "mine.toml:15: eval_period_s is inf, accepted: a finite number"),
        (
            ("target = 0.6", "target = 0.6\nreference_s = inf"),
            "mine.toml:23: reference_s is inf, accepted: a finite number",
        ),
        (("target = 0.6", "target = 0.6\nreference_s = nan"), "mine.toml:23: "),
        (
            ('direction = "min"\ntarget = 0.6', 'direction = "max"\ntarget = 0.6'),
            "mine.toml:21: direction of loss is 'max', accepted: 'min'",
        ),
        (("budget_factor = 1.5", ""), "mine.toml: Object missing required field `budget_factor`"),
        (("target = 0.6", 'target = "low"'), "mine.toml:22: Expected `float`, got `str`"),
        (("target = 0.6", "target = nan"), "mine.toml:22: target is nan, accepted: a finite number"),
        (("target = 0.6", ""), "mine.toml:17: Object missing required field `target`"),
        (("target = 0.6", "target = 0.6\nbudget = 3"), "mine.toml:23: 'budget'; did you mean 'budget_s'?"),
        (("0.6\nbudget_s = 100", "0.6\nbudget_s = -1"), "mine.toml:23: Expected `float` > 0.0 - at `$.budget_s`"),
        (('name = "w_tanh"', 'name = "w"'), "mine.toml:18: workload 'w' is there twice; remove one"),
        (
            (
                '"w"\nmetric = "loss"\ndirection = "min"\ntarget = 0.6',
                '"v"\nmetric = "loss"\ndirection = "min"\ntarget = 1',
            ),
            "base workload of w_tanh in",
        ),
        ((BOARD[BOARD.index("[[") :], ""), "mine.toml: no [[workload]]"),
        ((BOARD[BOARD.index("[[") :], "workload = 3"), "mine.toml:9: workload is 3, accepted: tables"),
    ],
    ids=lambda v: None if isinstance(v, tuple) else re.sub(r"\W+", "_", v)[:40],
)
def test_board_of_logs_that_is_wrong_is_answered_with_file_and_line(change, message, tmp_path):
    path = _file(tmp_path, BOARD.replace(*change))
    assert path.read_text() != BOARD
    with pytest.raises(errors.UserError, match=re.escape(message)) as caught:
        config.load_logs(str(path))
    assert str(tmp_path) in str(caught.value)
    assert [w.held_out_of for w in config.load_logs(str(_file(tmp_path, BOARD))).workload] == [None, "w"]


def test_entrants_are_named_by_themselves_or_by_their_source():
    assert config.entrants(["nadamw", "mine=my.py", "a/other.py", "pkg.mod", "m=muon:b1=0.8:order=2"]) == {
        "nadamw": "nadamw",
        "mine": "my.py",
        "other": "a/other.py",
        "mod": "pkg.mod",
        "m": "muon:b1=0.8:order=2",
    }


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["nadamw", "nadamw"], "entrant 'nadamw' is there twice"),
        (["a b=my.py"], "entrant name 'a b'"),
        (["=my.py"], "entrant name ''"),
        (["x" * 65 + "=my.py"], "1-64 letters"),
        (["muon:b1=0.8"], "muon:b1=0.8 needs a name of its own, such as mine=muon:b1=0.8"),
        (["muon:b1"], "muon:b1: behind a colon stand a hyperparameter and its value"),
    ],
)
def test_entrants_without_proper_unique_names_are_refused(items, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        config.entrants(items)
