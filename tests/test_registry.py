"""From a name to an object: what is found, what is refused, and in which words."""

import re
import subprocess
import sys

import pytest

from algoperf_lite import errors, registry, spec
from tests import tiny_trial
from tests.conftest import ASSETS, subprocess_env

BODY = """
    DEFAULTS = {"learning_rate": 0.1}


    def build(problem, hparams):
        return optax.sgd(hparams["learning_rate"])
    """


def test_listing_names_needs_no_import_of_jax():
    code = (
        "import sys; from algoperf_lite import registry\n"
        "print({k: list(registry.names(k)) for k in registry.KINDS})\n"
        "print([registry.describe_line(p) for p in registry.names('submissions').values()])\n"
        "assert not {'jax', 'optax', 'flax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=subprocess_env(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nadamw" in done.stdout
    assert "NadamW as AlgoPerf's baselines define it" in done.stdout


def test_submission_is_found_by_name_path_and_dotted_path(tmp_path):
    named, dotted = registry.load_submission("adamw"), registry.load_submission("submissions.adamw")
    path = registry.load_submission(str(registry.folder("submissions") / "adamw.py"))
    assert named.sha256 == dotted.sha256 == path.sha256
    assert (named.name, dotted.name, path.name) == ("adamw",) * 3
    assert registry.load_submission("adamw", name="aa").name == "aa"
    assert registry.load_submission(tiny_trial.write_submission(tmp_path, BODY)).name == "mine"


def test_submission_is_known_by_the_hash_of_its_file(tmp_path):
    source = tiny_trial.write_submission(tmp_path, BODY)
    before = registry.load_submission(source)
    with open(source, "a") as handle:
        handle.write("# a comment\n")
    after = registry.load_submission(source)
    assert before.sha256 != after.sha256
    assert re.fullmatch("[0-9a-f]{64}", before.sha256)


def test_two_files_of_one_name_do_not_meet(tmp_path):
    sources = []
    for rate in (1, 2):
        folder = tmp_path / str(rate)
        folder.mkdir()
        sources.append(tiny_trial.write_submission(folder, BODY.replace("0.1", str(rate / 2))))
    first, second = map(registry.load_submission, sources)
    assert (first.DEFAULTS, second.DEFAULTS) == ({"learning_rate": 0.5}, {"learning_rate": 1.0})


UNKNOWN = [
    ("nadam", "unknown submission 'nadam'; did you mean 'nadamw'?"),
    ("nadam", f"  known: {', '.join(registry.names('submissions'))}"),
    ("nadam", "a file is named by its path, such as ./nadam.py"),
    ("no.such.module", "no module 'no.such.module' can be imported"),
    ("./no_such_file.py", "submission file not found: ./no_such_file.py"),
]


@pytest.mark.parametrize(("name", "message"), UNKNOWN)
def test_unknown_submission_is_answered_with_what_is_known(name, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        registry.load_submission(name)


def test_missing_file_is_answered_with_the_nearest_in_its_folder(tmp_path):
    source = tiny_trial.write_submission(tmp_path, BODY, "my_optimizer")
    with pytest.raises(errors.UserError, match=f"did you mean {re.escape(source)}"):
        registry.load_submission(source.replace("optimizer", "optimiser"))


WRONG = {
    "not_python": ("def build(:\n", ":9: not valid Python: "),
    "raises": ("1 / 0\n", ":9: import failed: ZeroDivisionError"),
    "misses_a_module": ("import no_such_module\n", "import failed: ModuleNotFoundError: No module named 'no_such_module'"),
    "no_build": ("DEFAULTS = {}\n", "has no function build(problem, hparams)"),
    "build_is_no_function": ("build = 3\n", "has no function build(problem, hparams)"),
    "defaults_are_a_list": ("DEFAULTS = [1]\n\ndef build(p, h): ...\n", "DEFAULTS must be a dict"),
    "space_is_a_number": ("SPACE = 3\n\ndef build(p, h): ...\n", "SPACE must be a dict"),
    "dimension_is_a_tuple": ("SPACE = {'a': (1, 2)}\n\ndef build(p, h): ...\n", "SPACE['a'] is (1, 2); accepted: spec.log"),
    "defaults_have_one_minus": ("DEFAULTS = {'one_minus_b1': .1}\n\ndef build(p, h): ...\n", "know 'b1' only"),
    "space_has_a_name_of_its_own": (
        "DEFAULTS = {'rate': .1}\nSPACE = {'rat': spec.uniform(0, 1)}\n\ndef build(p, h): ...\n",
        "SPACE has 'rat', DEFAULTS has no 'rat' (it has: rate); give it a value there",
    ),
    "space_has_what_defaults_lack": (
        "DEFAULTS = {}\nSPACE = {'one_minus_b1': spec.uniform(0, 1)}\n\ndef build(p, h): ...\n",
        "SPACE has 'one_minus_b1', DEFAULTS has no 'b1' (it has: nothing)",
    ),
    "defaults_have_nan": ("DEFAULTS = {'a': float('nan')}\n\ndef build(p, h): ...\n", "DEFAULTS has 'a' = nan"),
    "misspells_a_function_of_algoperf": (
        "from algoperf import spec\n\ndef update_params(): ...\ndef init_opt(): ...\n",
        "this one lacks init_optimizer_state or update_params",
    ),
    "reversed_bounds": (
        "SPACE = {'a': spec.log_uniform(1, .1)}\n",
        ":9: import failed: ValueError: log_uniform needs 0 < lo",
    ),
    "build_takes_more": (
        "DEFAULTS = {}\n\ndef build(p, h, x): ...\n",
        "build must take (problem, hparams), and nothing else",
    ),
    "build_takes_less": ("DEFAULTS = {}\n\ndef build(p): ...\n", "build must take (problem, hparams), and nothing else"),
    "extra_argument": ("EXTRA_ARGS = ('grad',)\n\ndef build(p, h): ...\n", "did you mean 'grad_fn'?"),
    "period": ("PERIOD = 0\n\ndef build(p, h): ...\n", "PERIOD must be a whole number of steps >= 1, got 0"),
    "eval_params": ("eval_params = 1\n\ndef build(p, h): ...\n", "eval_params must be a function"),
    "too_large": ("# " + "x" * registry.MAX_FILE_BYTES + "\n", "a submission file may have at most 65536 (PROTOCOL P3)"),
    "opens_a_file": ("handle = open(__file__)\n\ndef build(p, h): ...\n", "left open files behind"),
}


@pytest.mark.parametrize("name", WRONG)
def test_submission_file_that_is_wrong_is_one_message_with_the_file(name, tmp_path):
    body, message = WRONG[name]
    source = tiny_trial.write_submission(tmp_path, "\n" + body)
    with pytest.raises(errors.UserError, match=re.escape(message)) as caught:
        registry.load_submission(source)
    assert source in str(caught.value)
    for module in [m for n, m in sys.modules.items() if n.startswith("_algoperf_lite_submission_mine")]:
        if hasattr(module, "handle"):
            module.handle.close()


def test_line_is_told_of_a_file_that_is_named_relatively(tmp_path, monkeypatch):
    tiny_trial.write_submission(tmp_path, "1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UserError, match=r"submission mine.py:8: import failed: ZeroDivisionError"):
        registry.load_submission("./mine.py")


def test_submission_that_is_no_text_is_one_message(tmp_path):
    source = tmp_path / "mine.py"
    source.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.UserError, match="not valid Python"):
        registry.load_submission(str(source))


# -------------------------------------------------------------------------------------------------- hyperparameters


@pytest.fixture
def entry(tmp_path):
    body = """
    SPACE = {
        "learning_rate": spec.log_uniform(0.01, 1.0),
        "one_minus_b1": spec.uniform(0.1, 0.2),
        "terms": spec.choice([1, 2, 3]),
        "kind": spec.choice(["a", "b"], static=True),
    }
    DEFAULTS = {"learning_rate": 0.1, "b1": 0.9, "terms": 2, "kind": "a", "order": 3, "flag": True}


    def build(problem, hparams):
        return optax.sgd(0.1)
    """
    return registry.load_submission(tiny_trial.write_submission(tmp_path, body))


def test_resolve_fills_defaults_in_turns_one_minus_and_keeps_reserved_names(entry):
    point = entry.resolve({"one_minus_b1": 0.25, "label_smoothing": 0.1})
    assert point == {**entry.DEFAULTS, "b1": 0.75, "label_smoothing": 0.1}
    assert entry.resolve(point) == point


def test_resolve_of_an_unknown_name_is_refused_with_the_nearest(entry):
    with pytest.raises(errors.UserError, match="hyperparameter of submission mine 'b2'"):
        entry.resolve({"b2": 0.9})


def test_static_hyperparameters_are_those_declared_and_those_that_are_no_floats(entry):
    point = entry.resolve({"label_smoothing": 0, "dropout_rate": 0})
    assert entry.static(point) == {"kind": "a", "order": 3, "flag": True}


def test_fixed_hyperparameters_change_the_defaults_and_have_one_value_in_the_space(entry):
    found = entry.fixed({"learning_rate": "1", "one_minus_b1": "0.25", "order": "4", "flag": "False"})
    assert found.DEFAULTS == {**entry.DEFAULTS, "learning_rate": 1.0, "b1": 0.75, "order": 4, "flag": False}
    space = dict(found.SPACE)
    assert (space.pop("learning_rate"), space.pop("one_minus_b1")) == (spec.choice([1.0]), spec.choice([0.25]))
    assert space == {"terms": entry.SPACE["terms"], "kind": entry.SPACE["kind"]}


def test_all_else_is_drawn_as_without_the_fixed_hyperparameters(entry):
    names = {"learning_rate": "0.5", "b1": "0.75", "terms": "3", "kind": "b"}
    for name, text in names.items():
        found = entry.fixed({name: text})
        for points, before in zip(found.points("external", 3, 2), entry.points("external", 3, 2), strict=True):
            assert {p[name] for p in points} == {found.DEFAULTS[name]}
            assert [{**p, name: 0} for p in points] == [{**p, name: 0} for p in before]


def test_fixed_hyperparameters_stay_traced_or_static(entry):
    found = entry.fixed({"terms": "3", "kind": "b", "learning_rate": "0.5"})
    assert found.static(found.resolve({})) == {"kind": "b", "order": 3, "flag": True}


def test_fixed_hyperparameters_make_another_entrant_of_the_same_file(entry):
    def load(values):
        return registry.load_submission(f"{entry.source}{values}")

    found = load(":order=4:b1=0.5")
    assert found.source == f"{entry.source}:order=4:b1=0.5"
    assert (found.name, found.DEFAULTS["order"], found.DEFAULTS["b1"]) == ("mine", 4, 0.5)
    assert registry.file_sha256("submissions", found.source) == found.sha256
    assert len({entry.sha256, found.sha256, load(":order=5:b1=0.5").sha256, load(":order=4").sha256}) == 4
    for same in (":b1=0.5:order=4", ":order=4:b1=5e-1", ":order=4:one_minus_b1=0.5"):
        assert load(same).sha256 == found.sha256


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"b2": "0.9"}, "unknown hyperparameter of submission mine 'b2'; did you mean 'b1'?"),
        ({"b1": "high"}, "mine: b1 = 'high'; accepted: a finite number, such as 0.9"),
        ({"b1": "nan"}, "mine: b1 = 'nan'; accepted: a finite number"),
        ({"one_minus_b1": ""}, "mine: one_minus_b1 = ''; accepted: a finite number"),
        ({"order": "2.5"}, "mine: order = '2.5'; accepted: a whole number, such as 3"),
        ({"flag": "1"}, "mine: flag = '1'; accepted: true or false, such as True"),
        ({"b1": "0.9", "one_minus_b1": "0.1"}, "mine: b1 is given twice"),
    ],
)
def test_fixed_hyperparameter_of_another_name_or_type_is_refused(texts, message, entry):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        entry.fixed(texts)


def test_fixed_hyperparameters_have_the_types_of_what_they_stand_for(tmp_path):
    body = """
    SPACE = {"wide": spec.uniform(0.0, 2.0), "rank": spec.choice([2, 4])}
    DEFAULTS = {"wide": 1, "rank": 2, "norm": "inf", "limit": 1e9}


    def build(problem, hparams): ...
    """
    found = registry.load_submission(tiny_trial.write_submission(tmp_path, body))
    found = found.fixed({"wide": "0.5", "rank": "4", "norm": "1", "limit": "-2", "dropout_rate": "0.1"})
    assert found.DEFAULTS == {"wide": 0.5, "rank": 4, "norm": "1", "limit": -2.0, "dropout_rate": 0.1}
    assert [type(v) for v in found.DEFAULTS.values()] == [float, int, str, float, float]


def test_fixed_hyperparameters_of_a_file_without_defaults_are_those_of_its_space(tmp_path):
    space = "SPACE = {'learning_rate': spec.log_uniform(0.01, 1.0), 'one_minus_b1': spec.uniform(0.1, 0.2)}\n"
    body = space + "def build(problem, hparams): ...\n"
    entry = registry.load_submission(tiny_trial.write_submission(tmp_path, body))
    found = entry.fixed({"b1": "0.5"})
    assert found.DEFAULTS is None
    assert {point["b1"] for point in found.points("external", 0, 1)[0]} == {0.5}
    with pytest.raises(errors.UserError, match="unknown hyperparameter of submission mine 'b2'"):
        entry.fixed({"b2": "0.5"})


def test_fixed_hyperparameters_hold_in_a_list_of_points(tmp_path):
    points = "SPACE = [{'rank': i, 'one_minus_b1': 0.1, 'kind': 'a'} for i in range(1, 7)]\n"
    body = points + "def build(problem, hparams): ...\n"
    found = registry.load_submission(tiny_trial.write_submission(tmp_path, body)).fixed({"b1": "0.5", "kind": "b"})
    drawn = found.points("external", 0, 1)[0]
    assert [(p["b1"], p["kind"], p["rank"]) for p in drawn] == [(0.5, "b", i) for i in range(1, 6)]
    found = found.fixed({"rank": "7"})
    assert [p["rank"] for p in found.points("external", 0, 1)[0]] == 5 * [7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("muon", ("muon", {})),
        ("a/b.py:lr=0.1", ("a/b.py", {"lr": "0.1"})),
        ("muon:a=1:b=-1e-3:c=true:d=", ("muon", {"a": "1", "b": "-1e-3", "c": "true", "d": ""})),
        ("sub.py:space.json", ("sub.py:space.json", {})),
        ("digits_vit:glu", ("digits_vit:glu", {})),
        ("c:/x=y/m.py", ("c:/x=y/m.py", {})),
        ("./a:b=c/d.py", ("./a:b=c/d.py", {})),
    ],
)
def test_values_are_split_from_a_source(text, expected):
    assert registry.split_values(text) == expected
    assert list(registry.split_values(text)[1]) == list(expected[1])


def test_value_that_is_given_twice_is_refused():
    with pytest.raises(errors.UserError, match="a hyperparameter is given twice"):
        registry.load_submission("muon:b1=0.9:b1=0.8")


def test_number_in_the_place_of_a_submission_is_answered_with_how_values_are_given():
    with pytest.raises(errors.UserError, match="fixed after a colon, such as mine=muon:learning_rate"):
        registry.load_submission("0.02")


def test_algoperf_file_takes_no_values(tmp_path):
    path = tmp_path / "submission.py"
    path.write_text("def init_optimizer_state(): ...\ndef update_params(): ...\n")
    with pytest.raises(errors.UserError, match="its hyperparameters come from a search space"):
        registry.load_submission(f"{path}:learning_rate=0.1")


def test_build_that_returns_no_transformation_is_refused_by_type(tmp_path):
    found = registry.load_submission(tiny_trial.write_submission(tmp_path, BODY.replace("optax.sgd", "dict")))
    object.__setattr__(found, "author_build", lambda problem, hparams: 3)
    with pytest.raises(errors.UserError, match=r"build returned int, accepted is an optax\.GradientTransformation"):
        found.build(None, {})


# ------------------------------------------------------------------------------------------------------- workloads


def test_workload_is_found_by_path_with_its_variant():
    workload = registry.load_workload(str(ASSETS / "tiny.py"), target=0.5)
    assert isinstance(workload, spec.Workload)
    assert (workload.name, workload.validation_target) == ("tiny", 0.5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 1\n", "has no function build(...) -> spec.Workload"),
        ("def build():\n    return 3\n", "build returned int, accepted is a spec.Workload"),
        ("def build(:\n", "not valid Python"),
    ],
)
def test_workload_file_that_is_wrong_is_one_message(body, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(body)
    with pytest.raises(errors.UserError, match=re.escape(message)):
        registry.load_workload(str(path))


def test_unknown_workload_is_answered_with_the_nearest():
    with pytest.raises(errors.UserError, match="unknown workload 'digit_vit'; did you mean 'digits_vit'"):
        registry.load_workload("digit_vit")


def test_variant_is_the_base_with_fields_replaced_and_targets_of_its_own():
    tiny = str(ASSETS / "tiny.py")
    base, still = registry.load_workload(tiny), registry.load_workload(f"{tiny}:still")
    assert (still.name, still.held_out_of, base.held_out_of) == ("tiny_still", "tiny", None)
    assert (base.validation_target, still.validation_target) == (0.9, 0.8)
    assert still.batch_stats_batches == 0 != base.batch_stats_batches
    assert still.reference == {"learning_rate": 0.01}


def test_variant_without_a_record_has_no_target_that_anything_reaches():
    fresh = registry.load_workload(str(ASSETS / "tiny.py:fresh"))
    assert fresh.provisional
    assert (fresh.reference, fresh.reference_steps, fresh.seed_sd) == ({}, 0.0, 0.0)  # not those of the base
    assert not fresh.reaches(1e9, fresh.validation_target)


def test_unknown_variant_is_answered_with_the_nearest():
    with pytest.raises(errors.UserError, match=r"unknown variant of workload .*'stil'; did you mean 'still'"):
        registry.load_workload(str(ASSETS / "tiny.py:stil"))


def test_record_of_another_version_is_refused():
    with pytest.raises(ValueError, match="record of version 1, the workload has version 2"):
        spec.recorded(str(ASSETS / "tiny.py"), "tiny_still", version=2)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("['wide']", "VARIANTS is ['wide']; accepted: a dict from names to dicts"),
        ("{'wide': 'tanh'}", "VARIANTS is {'wide': 'tanh'}; accepted: a dict from names to dicts"),
        ("{'a b': {}}", "VARIANTS has the name 'a b'; accepted: letters, digits and _"),
        ("{3: {}}", "VARIANTS has the name 3; accepted"),
    ],
)
def test_variants_that_are_none_are_one_message(variants, message, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text((ASSETS / "tiny.py").read_text() + f"\nVARIANTS = {variants}\n")
    for load in (registry.load_workload, registry.variants):
        with pytest.raises(errors.UserError, match=re.escape(f"workload {path}: {message}")):
            load(str(path))


def test_variant_whose_build_fails_is_one_message(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text((ASSETS / "tiny.py").read_text() + "\nVARIANTS = {'wide': {'breadth': 3}}\n")
    with pytest.raises(errors.UserError, match=r"build\(breadth=3\) failed: TypeError: .*breadth"):
        registry.load_workload(f"{path}:wide")


@pytest.mark.parametrize("text", ['{"version": 1', "{}", "[]"])
def test_broken_record_is_named(text, tmp_path):
    (tmp_path / "targets").mkdir()
    record = tmp_path / "targets" / "tiny_still.json"
    record.write_text(text)
    path = tmp_path / "tiny.py"
    path.write_text((ASSETS / "tiny.py").read_text())
    with pytest.raises(errors.UserError, match=re.escape(f"{record} is no target record")):
        registry.load_workload(f"{path}:still")


def test_workloads_are_told_from_submissions(tmp_path):
    path = tmp_path / "opt.py"
    path.write_text("DEFAULTS = {}\n")
    for name in (
        "digits_vit",
        "digits_vit:glu",
        "digits_vit:nosuch",
        str(ASSETS / "tiny.py"),
        f"{ASSETS / 'tiny.py'}:still",
    ):
        assert registry.is_workload(name)
    for name in ("nadamw", "nosuch", str(path), str(tmp_path / "absent.py")):
        assert not registry.is_workload(name)
