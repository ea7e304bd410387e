"""What is told of a submission file without running it, and the surroundings that it gets while it runs."""

import os
import pathlib
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import pytest

from algoperf_lite import errors
from algoperf_lite.adapters.algoperf import file as files
from algoperf_lite.adapters.algoperf import locate
from algoperf_lite.adapters.algoperf.scope import GONE, Scope
from tests.adapters.toy import FILES

JIT, PMAP = FILES / "nadamw_jit", FILES / "reference_algorithms" / "nadamw_pmap"
MINIMAL = """
from algoperf import spec


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}, None


def update_params(workload, current_param_container, model_state, optimizer_state, **_) -> spec.UpdateReturn:
    return optimizer_state, current_param_container, model_state
"""


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


# ------------------------------------------------------------------------------------------------- recognised


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (MINIMAL, True),
        ("from helpers import update_params, init as init_optimizer_state\n", True),
        ("from base import update_params\ninit_optimizer_state = lambda *_: None\n", True),
        (MINIMAL + "\ndef build(problem, hparams): ...\n", False),
        ("def build(problem, hparams): ...\n", False),
        ("def update_params(): ...\n", False),
        ("class A:\n  def init_optimizer_state(): ...\n  def update_params(): ...\n", False),
        (MINIMAL + "\ndef broken(:\n", True),
        ("def broken(:\n", False),
    ],
)
def test_file_is_told_by_its_top_level_names(text, is_one, tmp_path):
    assert locate.is_submission(write(tmp_path / "submission.py", text)) == is_one


@pytest.mark.parametrize("name", ["adamw", "nadamw", "dog"])
def test_native_submissions_are_none(name):
    assert not locate.is_submission(pathlib.Path(FILES.parents[2] / "submissions" / f"{name}.py"))


def test_functions_may_come_by_a_star_from_beside_the_file(tmp_path):
    main = write(tmp_path / "a" / "submission.py", "from .core import *\n")
    assert not locate.is_submission(main)
    write(main.parent / "core.py", "from rules import *\n")
    write(main.parent / "rules.py", MINIMAL)
    assert locate.is_submission(main)
    assert not locate.is_submission(write(main.parent / "itself.py", "from .itself import *\n"))
    write(main.parent / "one.py", "from .two import *\n")
    assert not locate.is_submission(write(main.parent / "two.py", "from .one import *\n"))
    assert not locate.is_submission(write(main.parent / "deep.py", f"from {'.' * 60}core import *\n"))


def test_jax_file_that_imports_torch_is_none_of_pytorch(tmp_path):
    for other in ("import jax", "import optax", "from flax import struct"):
        main = write(tmp_path / "submission.py", MINIMAL + f"{other}\nimport torch\nfrom torch import nn\n")
        assert files.read(main).path == main


@pytest.mark.parametrize(("folder", "found"), [("jax", True), ("mnist_jax", True), ("pytorch", False), ("jaxen", False)])
def test_search_space_may_lie_above_a_folder_of_the_framework(folder, found, tmp_path):
    main = write(tmp_path / "nesterov" / folder / "submission.py", MINIMAL)
    write(tmp_path / "nesterov" / "tuning_search_space.json", '[{"a": 1}]')
    assert files.read(main).space == ([{"a": 1}] if found else None)
    write(main.parent / "tuning_search_space.json", '[{"a": 2}]')
    assert files.read(main).space == [{"a": 2}]  # the nearer one


def test_facts_of_both_conventions():
    jit, pmap = files.read(JIT / "submission.py"), files.read(PMAP / "submission.py")
    assert [p.name for p in jit.own] == ["rules.py", "submission.py"]
    assert [p.parent.name for p in pmap.own] == ["nadamw_pmap", "shared"]
    assert (jit.pmap, pmap.pmap) == (False, True)  # jax.pmap is in a helper of the second
    assert jit.doc.startswith("NadamW after AlgoPerf 0.6's")
    assert (len(jit.space), len(pmap.space)) == (3, 6)
    assert files.read(FILES / "stopping" / "submission.py").space is None


@pytest.mark.parametrize(
    ("text", "pmap"),
    [
        ("import jax\nstep = jax.pmap(f)\n", True),
        ("import functools, jax\n@functools.partial(jax.pmap, axis_name='batch')\ndef step(): ...\n", True),
        ("from jax import pmap\n", True),
        ("from flax import jax_utils\n# jax.pmap\nname = 'jax.pmap'\n", False),
    ],
)
def test_convention_is_told_by_pmap_alone(text, pmap, tmp_path):
    assert files.read(write(tmp_path / "submission.py", MINIMAL + text)).pmap == pmap


def test_hash_is_of_all_that_the_file_consists_of(tmp_path):
    main = write(tmp_path / "a" / "submission.py", MINIMAL + "from . import helper\nfrom .deep import more\n")
    seen = [files.read(main).sha256]
    for name, text in (("helper.py", "x = 1\n"), ("deep/more.py", "y = 1\n"), ("other.py", "z = 1\n"), ("notes.txt", "n")):
        write(main.parent / name, text)
        seen.append(files.read(main).sha256)
    assert len(set(seen)) == 3  # neither the module that nobody imports nor the notes count
    space = write(main.parent / "tuning_search_space.json", '[{"a": 1}]')
    tuned = files.read(main).sha256
    space.write_text('[{"a": 2}]')
    assert len({*seen, tuned, files.read(main).sha256}) == 5
    other = write(tmp_path / "other.json", '[{"a": 2}]')
    assert files.read(main, other).sha256 == files.read(main).sha256


def test_search_space_is_found_beside_the_file_or_where_it_is_named(tmp_path, monkeypatch):
    main = write(tmp_path / "a" / "submission.py", MINIMAL)
    assert files.read(main).space is None
    write(main.parent / "mine.json", '[{"a": 1}]')
    assert files.read(main, pathlib.Path("mine.json")).space == [{"a": 1}]  # from the file's folder
    write(tmp_path / "mine.json", '[{"a": 2}]')
    monkeypatch.chdir(tmp_path)
    assert files.read(main, pathlib.Path("mine.json")).space == [{"a": 2}]  # from here
    with pytest.raises(errors.UserError, match=r"gone\.json cannot be read"):
        files.read(main, pathlib.Path("gone.json"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "\n  return batch\n", r"submission\.py:12: not valid Python: unindent"),
        (MINIMAL + "\nimport torch\nimport torch.nn as nn\n", "written in PyTorch"),
        ("x = 1\n", "none of AlgoPerf's: it lacks init_optimizer_state or update_params"),
    ],
    ids=["syntax", "torch", "other"],
)
def test_file_that_cannot_run_here_is_refused_in_one_line(text, said, tmp_path):
    with pytest.raises(errors.UserError, match=said) as refused:
        files.read(write(tmp_path / "submission.py", text))
    assert "\n" not in str(refused.value)


def test_helper_that_is_not_valid_python_is_named(tmp_path):
    main = write(tmp_path / "submission.py", MINIMAL + "from .helper import x\n")
    write(tmp_path / "helper.py", "def f(:\n")
    with pytest.raises(errors.UserError, match=r"helper\.py:1: not valid Python"):
        files.read(main)


# ---------------------------------------------------------------------------------------------- the surroundings


def loaded(path, scope=None):
    scope = scope or Scope(path, jax.devices()[:1])
    with scope:
        return scope.load()


def test_nothing_is_left_behind():
    before = {name: dict(vars(module)) for name, module in (("jax", jax), ("jnp", jnp), ("sys", sys))}
    modules, finders = dict(sys.modules), list(sys.meta_path)
    for path in (JIT, PMAP):
        loaded(path / "submission.py")
    own = (
        "algoperf",
        "algorithmic_efficiency",
        "_algoperf_lite",
        "reference_algorithms",
        "chex",
        "jraph",
        "torch",
        "rules",
    )
    new = {name for name in set(sys.modules) - set(modules) if name.split(".")[0].startswith(own)}
    assert {name for name in new if not name.startswith("algoperf_lite.")} == set()
    assert sys.meta_path == finders
    for name, module in (("jax", jax), ("jnp", jnp), ("sys", sys)):
        changed = {k for k, v in before[name].items() if k != "last_value" and vars(module).get(k) is not v}
        assert changed == set()
    assert not hasattr(jax, "tree_map")
    with pytest.raises(TypeError):
        jnp.clip(jnp.ones(2), a_min=0.0)


def test_settings_of_a_file_are_there_while_it_runs_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SET_OUTSIDE", "as it was")
    path = write(
        tmp_path / "submission.py",
        MINIMAL
        + "import os, jax\njax.config.update('jax_enable_x64', True)\n"
        + "os.environ['SET_INSIDE'] = '1'\ndel os.environ['SET_OUTSIDE']\n",
    )

    def seen():
        variables = os.environ.get("SET_INSIDE"), "SET_OUTSIDE" in os.environ
        return jax.config.jax_enable_x64, jnp.ones(1, float).dtype.name, *variables

    scope = Scope(path, jax.devices()[:1])
    for entered in range(2):
        with scope:
            if not entered:
                scope.load()
            assert seen() == (True, "float64", "1", False)
        assert seen() == (False, "float32", None, True)
    with Scope(JIT / "submission.py", jax.devices()[:1]):
        assert seen() == (False, "float32", None, True)
    assert os.environ["SET_OUTSIDE"] == "as it was"


def test_a_file_that_changes_algoperfs_modules_changes_its_own(tmp_path):
    text = MINIMAL + "from algoperf import random_utils\nrandom_utils.split = spec.NEW = 'changed'\n"
    changed = loaded(write(tmp_path / "a" / "submission.py", text))
    assert changed.spec.NEW == "changed"
    other = loaded(write(tmp_path / "b" / "submission.py", MINIMAL + "from algoperf import random_utils\n"))
    assert not hasattr(other.spec, "NEW")
    assert other.random_utils.split is jax.random.split
    assert other.spec.TrainingCompleteError is changed.spec.TrainingCompleteError  # what the harness waits for
    with pytest.raises(ImportError, match=r"algoperf\.data_utils\.shard is used; of AlgoPerf's modules there are spec, "):
        loaded(write(tmp_path / "c" / "submission.py", MINIMAL + "import algoperf.data_utils as d\nd.shard(1)\n"))


def test_settings_of_a_file_that_fails_are_taken_back(tmp_path):
    text = MINIMAL + "import jax\njax.config.update('jax_enable_x64', True)\nassert False, 'now'\n"
    with pytest.raises(AssertionError, match="now"):
        loaded(write(tmp_path / "submission.py", text))
    assert not jax.config.jax_enable_x64


def test_names_that_jax_has_dropped_are_back_inside_alone():
    assert [name for owner, name, _ in GONE if hasattr(owner, name)] == []
    with Scope(JIT / "submission.py", jax.devices()[:1]):
        assert [name for owner, name, _ in GONE if not hasattr(owner, name)] == []
        leaves, tree = jax.tree_flatten({"a": 1, "b": [2, 3]})
        assert jax.tree_unflatten(tree, leaves) == {"a": 1, "b": [2, 3]}
        assert (jax.tree_leaves([1, 2]), jax.tree_structure([1])) == ([1, 2], jax.tree.structure([1]))
        assert int(jnp.product(jnp.array([2, 3]))) == 6
        assert jnp.in1d(jnp.array([[1, 2]]), jnp.array([2])).tolist() == [False, True]
        assert float(jnp.trapz(jnp.array([0.0, 1.0]))) == 0.5
        exec("from jax.sharding import PartitionSpec as P\ndef f(x: list[P[int]]): ...")  # it was a tuple once
    assert [name for owner, name, _ in GONE if hasattr(owner, name)] == []


def test_nothing_is_left_behind_by_a_file_that_fails(tmp_path):
    path = write(tmp_path / "submission.py", MINIMAL + "import algoperf.workloads.x\nassert False, 'now'\n")
    with pytest.raises(AssertionError, match="now"):
        loaded(path)
    assert "algoperf" not in sys.modules
    assert "algoperf.workloads" not in sys.modules
    assert not hasattr(jax, "tree_map")


def test_names_that_files_use_are_there_and_both_packages_are_one(tmp_path):
    text = """
    import algorithmic_efficiency
    import algoperf.spec
    import chex, jraph
    import jax
    import jax.numpy as jnp
    from typing import Optional, Union
    from algoperf import jax_sharding_utils, spec
    from algoperf.workloads.finewebedu_lm.finewebedu_lm_jax.workload import LmWorkload
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

    State = Optional[Union[chex.Array, chex.ArrayTree]]
    same = algorithmic_efficiency.spec is spec is algoperf.spec
    doubled = jax.tree_map(lambda x: 2 * x, {"a": 1})
    clipped = jnp.clip(jnp.array([-1.0, 3.0]), a_min=0.0, a_max=2.0), jnp.clip(jnp.array([-1.0, 3.0]), 0.0, 2.0)
    shardings = jax_sharding_utils.get_replicate_sharding(), jax_sharding_utils.get_batch_dim_sharding()
    on_devices = jax_sharding_utils.replicate({"x": jnp.ones(4)}), jax_sharding_utils.shard_along_batch_dim([jnp.ones(4)])


    def annotated(
        a: spec.Workload, b: spec.ParameterContainer, c: spec.ParameterTypeTree, d: spec.ModelAuxiliaryState,
        e: spec.Hyperparameters, f: spec.RandomState, g: spec.OptimizerState, h: spec.Tensor, i: spec.ShapeTuple,
        j: spec.Shape, k: spec.ParameterShapeTree, m: spec.ParameterKey, n: spec.ModelInitState, o: spec.Timing,
    ) -> spec.UpdateReturn: ...
    """
    module = loaded(write(tmp_path / "submission.py", MINIMAL + textwrap.dedent(text)))
    assert module.same
    assert module.doubled == {"a": 2}
    assert [x.tolist() for x in module.clipped] == [[0.0, 2.0]] * 2
    assert [s.mesh.axis_names for s in module.shardings] == [("batch",)] * 2
    assert [tuple(s.spec) for s in module.shardings] == [(), ("batch",)]
    assert len(module.spec.ParameterType) == 15
    assert {m.name for m in module.spec.ForwardPassMode} == {"TRAIN", "EVAL"}
    assert issubclass(module.spec.TrainingCompleteError, Exception)
    with pytest.raises(ImportError, match=r"chex\.assert_shape is used, and the package chex is not installed"):
        module.chex.assert_shape(1)


def test_installed_packages_are_not_covered(tmp_path, monkeypatch):
    real = write(tmp_path / "site" / "chex.py", "Array = 'the real one'\n")
    monkeypatch.syspath_prepend(str(real.parent))
    try:
        module = loaded(write(tmp_path / "submission.py", MINIMAL + "import chex\n"))
        assert module.chex.Array == "the real one"
    finally:
        sys.modules.pop("chex", None)  # not by monkeypatch, which would put it back in the end


def test_an_algoperf_of_the_users_own_is_back_afterwards(monkeypatch, tmp_path):
    theirs = {name: types.ModuleType(name) for name in ("algoperf", "algoperf.spec", "algoperf.data_utils")}
    for name, module in theirs.items():
        monkeypatch.setitem(sys.modules, name, module)
    module = loaded(write(tmp_path / "submission.py", MINIMAL))
    assert module.spec is not theirs["algoperf.spec"]
    assert all(sys.modules[name] is module for name, module in theirs.items())


def test_helpers_are_found_beside_the_file_and_in_its_authors_tree(tmp_path):
    tree = tmp_path / "repo" / "submissions" / "external" / "mine"
    main = write(
        tree / "submission.py",
        MINIMAL
        + "from . import near\nfrom .deep.er import value as deep\nfrom .. import above\nimport plain\n"
        + "from submissions.external.mine.near import name as far\n"
        + "from submissions.some_tree_v0_5.team.external_tuning.mine.near import name as nowhere\n"
        + "from algorithms.shared.rules import name as rules\n",
    )
    write(tree / "near.py", "name = __name__, __file__\n")
    write(tree / "deep" / "er.py", "from ..near import name\nvalue = name\n")
    write(tree / "plain.py", "name = 'plain'\n")
    write(tree.parent / "above.py", "name = 'above'\n")
    write(tmp_path / "repo" / "algorithms" / "shared" / "rules.py", "name = 'rules'\n")
    import submissions

    before = dict(vars(submissions))
    module = loaded(main)
    assert module.near.name[1] == module.far[1] == module.nowhere[1] == str(tree / "near.py")
    assert module.deep == module.near.name
    assert (module.above.name, module.plain.name, module.rules) == ("above", "plain", "rules")
    assert module.__file__ == str(main)
    assert sys.modules["submissions"] is submissions
    assert vars(submissions) == before
    assert {"plain", "algorithms", "submissions.external"} & set(sys.modules) == set()
    with pytest.raises(ModuleNotFoundError):
        import algorithms.shared.rules  # noqa: F401


def test_file_is_loaded_afresh_and_two_do_not_meet(tmp_path):
    main = write(tmp_path / "submission.py", MINIMAL + "from .helper import box\nbox.append(1)\n")
    write(tmp_path / "helper.py", "box = []\n")
    first, second = Scope(main, jax.devices()[:1]), Scope(main, jax.devices()[:1])
    boxes = [loaded(main, scope).box for scope in (first, second)]
    assert boxes == [[1], [1]]
    write(tmp_path / "helper.py", "box = [7]\n")
    assert loaded(main).box == [7, 1]
    assert not (tmp_path / "__pycache__").exists()


def test_imports_while_running_find_the_files_own_modules(tmp_path):
    main = write(tmp_path / "submission.py", MINIMAL + "def late():\n    from .helper import box\n    return box\n")
    write(tmp_path / "helper.py", "box = []\n")
    scope = Scope(main, jax.devices()[:1])
    module = loaded(main, scope)
    with scope:
        first = module.late()
    with scope:
        assert module.late() is first


@pytest.mark.parametrize("count", [1, 3])
def test_devices_are_those_of_the_run(count, tmp_path):
    text = "import jax\nseen = jax.devices(), jax.local_devices(), jax.device_count(), jax.local_device_count()\n"
    main = write(tmp_path / "submission.py", MINIMAL + text)
    devices = jax.devices()[:count]
    assert loaded(main, Scope(main, devices)).seen == (devices, devices, count, count)
    assert jax.device_count() > count
