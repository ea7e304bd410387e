"""Submission files on plain functions: both conventions, AlgoPerf's order of calls, and what is refused."""

import itertools
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import errors, registry, spec
from algoperf_lite.adapters import algoperf
from tests.adapters import toy
from tests.conftest import ROOT, subprocess_env

JIT, PMAP = "nadamw_jit/submission.py", "reference_algorithms/nadamw_pmap/submission.py"
AVERAGE, STOPPING = "self_tuning_average/submission.py", "stopping/submission.py"
ONE = jax.devices()[:1]


@pytest.fixture(scope="module")
def jit():
    return toy.drive(JIT, toy.POINT, devices=ONE)


@pytest.fixture(scope="module")
def pmap():
    return toy.drive(PMAP, toy.POINT, devices=ONE)


def close(a, b, tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


# -------------------------------------------------------------------------------------------- the two conventions


def test_twins_of_both_conventions_have_the_same_losses_and_parameters(jit, pmap):
    assert (jit.pmap, pmap.pmap) == (False, True)
    assert (jit.step, len(jit.losses)) == (pmap.step, len(pmap.losses)) == (20, 20)
    np.testing.assert_allclose(jit.losses, pmap.losses, rtol=1e-6)
    close(jit.params, pmap.params, 1e-6)
    assert jit.losses[-1] < 0.9 * jit.losses[0]
    assert jax.tree.map(np.shape, pmap.params) == jax.tree.map(np.shape, toy.params())


def test_nadamw_is_the_one_that_is_shipped(jit):
    """The same algorithm, the same problem: as the harness's own `nadamw` would train, label smoothing included."""
    entry, steps = registry.load_submission("nadamw"), 20
    params = jax.tree.map(jnp.asarray, toy.params())
    problem = spec.Problem.from_params(params, step_budget=steps, batch_size=toy.BATCH)
    point = {"learning_rate": 0.05, "b1": 0.9, "b2": 0.95, "weight_decay": 0.02, "warmup_fraction": 0.2}
    tx = entry.build(problem, {**point, "horizon_fraction": 1.0})

    def loss(params, batch, smoothing):
        logits, _ = toy.model_fn(params, batch, None, algoperf.ForwardPassMode.TRAIN, None, True, None)
        found = toy.loss_fn(batch["targets"], logits, None, smoothing)
        return found["summed"] / found["n_valid_examples"]

    @jax.jit
    def step(params, state, batch):
        grad = jax.grad(loss)(params, batch, toy.POINT["label_smoothing"])
        updates, state = tx.update(grad, state, params)
        return optax.apply_updates(params, updates), state, loss(params, batch, 0.0)

    state, losses = tx.init(params), []
    for t in range(steps):
        params, state, value = step(params, state, toy.batch(t))
        losses.append(float(value))
    np.testing.assert_allclose(jit.losses, losses, rtol=1e-5)
    close(jit.params, params, 1e-5)


def test_hyperparameters_reach_the_file_as_python_values(tmp_path):
    path = write(
        tmp_path / "submission.py",
        """
        def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
            assert type(hyperparameters).__name__ == "Hyperparameters"
            assert list(hyperparameters) == [0.1, 3, True, None, "x"]
            assert hyperparameters._fields == ("a", "b", "c", "d", "e")
            assert not hasattr(hyperparameters, "grad_clip")
            return {}, None


        def update_params(workload, current_param_container, model_state, optimizer_state, hyperparameters, **_):
            assert [type(x).__name__ for x in hyperparameters] == ["float", "int", "bool", "NoneType", "str"]
            return optimizer_state, current_param_container, model_state
        """,
    )
    found = toy.drive(path, {"a": 0.1, "b": 3, "c": True, "d": None, "e": "x"}, steps=1)
    close(found.params, toy.params(), 0)


def test_learning_rate_and_label_smoothing_matter(jit):
    for change in ({"learning_rate": 0.02}, {"label_smoothing": 0.0}):
        other = toy.drive(JIT, {**toy.POINT, **change}, devices=ONE, steps=8, step_hint=20)
        assert not np.array_equal(other.losses[3:], jit.losses[3:8])  # the first step has learning rate 0


@pytest.mark.parametrize("file", [JIT, PMAP])
def test_dropout_is_the_files_or_by_the_older_convention_the_models(file):
    """0.6 hands the rate to `model_fn`; v0.5 builds the model with it. The keys of the steps draw the masks."""
    runs = [
        toy.drive(file, {**toy.POINT, "dropout_rate": rate}, devices=ONE, steps=4, step_hint=20, seed=seed)
        for rate, seed in ((0.0, 0), (0.3, 0), (0.3, 0), (0.3, 1))
    ]
    first, dropped, again, other = (jax.tree.leaves(run.params) for run in runs)
    assert all(np.array_equal(a, b) for a, b in zip(dropped, again, strict=True))
    for run in (first, other):
        assert not all(np.array_equal(a, b) for a, b in zip(dropped, run, strict=True))


@pytest.mark.slow
def test_two_devices_give_the_losses_of_one(jit, pmap):
    code = f"""
    import json
    from tests.adapters import toy
    for name in ({JIT!r}, {PMAP!r}):
        run = toy.drive(name, toy.POINT)
        print(json.dumps([len(__import__("jax").devices()), run.losses.tolist(), float(run.params["Dense_0"]["bias"][0])]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=subprocess_env(2),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    import json

    for line, one in zip(done.stdout.splitlines(), (jit, pmap), strict=True):
        devices, losses, bias = json.loads(line)
        assert devices == 2
        np.testing.assert_allclose(losses, one.losses, rtol=1e-5)
        np.testing.assert_allclose(bias, one.params["Dense_0"]["bias"][0], rtol=1e-5)


def test_batch_that_does_not_divide_over_the_devices_is_named():
    with pytest.raises(errors.UserError, match=r"batch\['inputs'\] of shape \[16, 6\]: .* does not divide over 3 devices"):
        toy.drive(JIT, toy.POINT, devices=jax.devices()[:3], steps=1)


# ------------------------------------------------------------------------------------------------- evaluations


def test_prepare_for_eval_is_evaluated_and_its_file_undoes_it():
    """The file evaluates an average of its iterates, and trains on from the iterate: evaluations change nothing."""
    rare, often = (toy.drive(AVERAGE, devices=ONE, steps=9, eval_every=every) for every in (9, 2))
    assert [at for at, *_ in often.evaluated] == [2, 4, 6, 8, 9]
    assert [at for at, *_ in rare.evaluated] == [9]
    close(often.evaluated[-1][1], rare.evaluated[-1][1], 0)
    close(often.params, often.evaluated[-1][1], 0)
    early, late = often.evaluated[0][1], often.evaluated[-1][1]
    gaps = [np.max(np.abs(a - b)) for a, b in zip(*map(jax.tree.leaves, (early, late)), strict=True)]
    assert max(gaps) > 1e-3
    assert rare.optimizer_state[0]["fast"] is not None


def test_model_state_is_trained_and_evaluated_as_the_file_leaves_it(jit):
    state = {"mean": np.zeros(toy.DIM, np.float32)}
    runs = [toy.drive(name, toy.POINT, devices=ONE, steps=3, step_hint=20, model_state=state) for name in (JIT, PMAP)]
    expected = np.zeros(toy.DIM)
    for t in range(3):
        expected = 0.9 * expected + 0.1 * toy.batch(t)["inputs"].mean(0)
    for run in runs:
        np.testing.assert_allclose(run.model_state["mean"], expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(run.evaluated[0][2]["mean"], run.model_state["mean"])
    assert jit.model_state is None


def test_training_that_the_file_ends_is_evaluated_once_more():
    found = toy.drive(STOPPING, devices=ONE, steps=20, eval_every=5)
    assert (found.complete, found.step, len(found.losses)) == (True, 8, 8)
    assert [at for at, *_ in found.evaluated] == [5, 8]
    whole = toy.drive(STOPPING, devices=ONE, steps=8, step_hint=20)
    assert not whole.complete
    close(found.params, whole.params, 0)


def test_update_is_called_as_upstream_calls_it(tmp_path):
    """Order, arguments, and `global_step` of every call."""
    path = write(
        tmp_path / "submission.py",
        """
        calls = []


        def init_optimizer_state(*args):
            calls.append(("init", len(args)))
            return [0], None


        def data_selection(workload, input_queue, optimizer_state, params, model_state, hyperparameters, global_step, rng):
            calls.append(("data", global_step))
            next(input_queue)
            return next(input_queue)


        def update_params(*, global_step, batch, train_state, **kwargs):
            calls.append(("update", global_step, sorted(kwargs), float(batch["inputs"][0, 0]), dict(train_state)))
            try:
                train_state["is_time_remaining"] = False
            except TypeError:
                calls.append("read-only")
            return (calls, None), kwargs["current_param_container"], kwargs["model_state"]


        def prepare_for_eval(*, global_step, **kwargs):
            calls.append(("prepare", global_step, sorted(kwargs)))
            return kwargs["optimizer_state"], kwargs["current_param_container"], kwargs["model_state"]
        """,
    )
    found = toy.drive(path, steps=2, eval_every=1, devices=ONE)
    common = ["current_param_container", "current_params_types", "eval_results", "hyperparameters", "loss_type"]
    common += ["model_state", "optimizer_state", "rng", "workload"]
    calls = found.optimizer_state[0]
    assert calls[0] == ("init", 5)
    assert [c[:2] for c in calls if isinstance(c, tuple)][1:] == [
        ("data", 0),
        ("update", 0),
        ("prepare", 1),
        ("data", 1),
        ("update", 1),
        ("prepare", 2),
    ]
    updates = [c for c in calls if c[0] == "update"]
    assert [u[2] for u in updates] == [common, common]
    assert [u[3] for u in updates] == [float(toy.batch(n)["inputs"][0, 0]) for n in (1, 3)]
    assert updates[0][4]["is_time_remaining"] is True
    assert calls.count("read-only") == 2
    assert [c[2] for c in calls if c[0] == "prepare"] == [common, common]


def test_train_state_tells_the_time_of_every_step(tmp_path):
    path = write(
        tmp_path / "submission.py",
        """
        import time

        seen = []


        def init_optimizer_state(*_):
            return seen, None


        def update_params(*, train_state, current_param_container, model_state, **_):
            names = "accumulated_submission_time", "last_step_end_time", "last_eval_time"
            charged, ended, evaluated = (train_state[name] for name in names)
            seen.append((charged, ended, time.time(), evaluated))
            time.sleep(0.01)
            return (seen, None), current_param_container, model_state
        """,
    )
    seen = toy.drive(path, steps=4, eval_every=2, devices=ONE).optimizer_state[0]
    charged, ended, now, evaluated = zip(*seen, strict=True)
    assert charged[0] == 0
    assert all(b - a >= 0.01 for a, b in itertools.pairwise(charged))
    assert all(before <= end <= after for before, end, after in zip(now, ended[1:], now[1:], strict=False))
    assert evaluated[:2] == (0.0, 0.0)
    assert ended[2] <= evaluated[2] == evaluated[3] <= now[2]


def test_file_is_loaded_afresh_for_every_run(tmp_path):
    path = write(
        tmp_path / "submission.py",
        """
        count = []


        def init_optimizer_state(*_):
            return [0], None


        def update_params(*, optimizer_state, current_param_container, model_state, **_):
            count.append(1)
            return ([len(count)], None), current_param_container, model_state
        """,
    )
    assert [toy.drive(path, steps=3, devices=ONE).optimizer_state[0] for _ in range(2)] == [[3], [3]]


# ------------------------------------------------------------------------------------------------------ refused

HEAD = """
import functools
import jax
import jax.numpy as jnp
from algoperf import spec


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}, None
"""
KEEPS = """

def update_params(*, optimizer_state, current_param_container, model_state, **_):
    return optimizer_state, current_param_container, model_state
"""
FAULTS = {
    "reshaped": (
        """

def update_params(*, optimizer_state, current_param_container, model_state, **_):
    return optimizer_state, jax.tree.map(lambda x: x[None], current_param_container), model_state
""",
        r"update_params at step 0 failed: ValueError: parameters after step 1: leaf .*32\[5\], became float32\[1, 5\]",
    ),
    "other_type": (
        """

def update_params(*, optimizer_state, current_param_container, model_state, **_):
    return optimizer_state, jax.tree.map(lambda x: x.astype(jnp.bfloat16), current_param_container), model_state
""",
        r"was float32\[5\], became bfloat16\[5\]",
    ),
    "two_values": (
        """

def update_params(*, optimizer_state, current_param_container, model_state, **_):
    return optimizer_state, current_param_container
""",
        "TypeError: update_params returned 2 values; needed are optimizer_state, params, model_state",
    ),
    "in_axes": (
        """

@functools.partial(jax.pmap, axis_name="batch", in_axes=(0, None))
def step(params, batch, rate):
    return params


def update_params(*, optimizer_state, current_param_container, model_state, batch, **_):
    return optimizer_state, step(current_param_container, batch, 0.1), model_state
""",
        r"submission\.py:\d+: update_params at step 0 failed: .*; step has 3 arguments and in_axes for 2: a fault of",
    ),
    "package": (
        KEEPS + "\nfrom learned_optimization.optimizers import base\n",
        r"submission\.py:\d+: loading it failed: ModuleNotFoundError: .*; the file needs the package 'learned_optim",
    ),
    "hyperparameters": (
        """

def update_params(*, optimizer_state, current_param_container, model_state, hyperparameters, **_):
    return optimizer_state, current_param_container, hyperparameters.learning_rate
""",
        r"hyperparameters are None without a search space: put tuning_search_space\.json beside the file",
    ),
    "running_average": (
        """

def update_params(*, workload, optimizer_state, current_param_container, model_state, batch, rng, **_):
    train = spec.ForwardPassMode.TRAIN
    workload.model_fn(current_param_container, batch, model_state, train, rng, False, use_running_average_bn=True)
    return optimizer_state, current_param_container, model_state
""",
        "NotImplementedError: use_running_average_bn=True in training",
    ),
    "exit": (KEEPS + "\nraise SystemExit(3)\n", "loading it failed: SystemExit: 3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_file_that_cannot_run_says_so_in_one_line(name, tmp_path):
    body, said = FAULTS[name]
    path = tmp_path / "submission.py"
    path.write_text(HEAD + body)
    with pytest.raises(errors.UserError, match=said) as refused:
        toy.drive(path, steps=1, devices=ONE)
    assert str(refused.value).startswith(f"submission {path}")
    assert "\n" not in str(refused.value)
    assert not hasattr(jax, "tree_map")


def test_batches_that_end_too_early_are_told():
    with pytest.raises(ValueError, match="batches ended before the training did"):
        toy.drive(STOPPING, steps=4, devices=ONE, batches=[toy.batch(0)])
