"""The compiled programs: the scan driver against its oracle, one compilation for all points, and what is refused."""

import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import engine, errors, mesh, registry, spec, training
from algoperf_lite.clock import CompilationCounter
from algoperf_lite.training import Carry
from tests import tiny_trial
from tests.assets import tiny
from tests.conftest import AS_SHIPPED
from tests.workloads.cases import CASES, LITE


def start(programs, hparams, seed=3):
    """(carry, hyper, key) of a trial."""
    key, hyper = programs.key(seed), programs.hyper(hparams)
    params, model_state = programs.start(key)
    return Carry(params, model_state, programs.opt_init(params, hyper)), hyper, key


def train(programs, hparams, chunks=1, seed=3):
    """Losses of some chunks by the scan driver."""
    carry, hyper, key = start(programs, hparams, seed)
    losses = []
    for k in range(chunks):
        number = programs.step_number(k * programs.bench.workload.interval)
        carry, found = programs.chunk(carry, hyper, programs.bench.data, key, number)
        losses.append(np.asarray(found))
    return np.concatenate(losses), carry


def dispatched(programs, hparams, steps, seed=3):
    """The same by the oracle: one program call per step."""
    step = engine.dispatch_step(programs, hparams)
    carry, hyper, key = start(programs, hparams, seed)
    losses = []
    for k in range(steps):
        carry, loss = step(carry, hyper, programs.bench.data, key, programs.step_number(k))
        losses.append(np.asarray(loss))
    return np.array(losses), carry


# -------------------------------------------------------------------------------------------------- scan = dispatch


@pytest.mark.parametrize("name", ["nadamw", "adamw", "nesterov", "schedule_free_adamw", "dog"])
def test_scanned_steps_of_a_submission_equal_dispatched_ones_to_the_bit(name):
    programs = tiny_trial.programs(name)
    point = programs.submission.resolve({})
    (scanned, a), (single, b) = train(programs, point, 3), dispatched(programs, point, 24)
    np.testing.assert_array_equal(scanned, single)
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


# Compiling takes long: by default one of each kind of loop body (convolution, inner scan, scatter, lookup, attention).
BY_DEFAULT = ("digits_resnet", "tones_lstm", "graphs_gnn", "clicks_dlrm", "markov_lm")


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=pytest.mark.slow if c.name in BY_DEFAULT else pytest.mark.long) for c in CASES],
)
def test_scanned_steps_of_a_workload_equal_dispatched_ones_to_the_bit(case, request):
    if case in LITE:
        request.getfixturevalue("real_data")
    workload = case.build()
    workload = dataclasses.replace(workload, step_budget=4 * workload.evaluations)
    bench = engine.compile_bench(workload, mesh.make({"data": 1, "fsdp": 1}), AS_SHIPPED)
    entry = registry.load_submission("nadamw")
    point = entry.resolve({"warmup_fraction": 0.0, "dropout_rate": 0.1, "label_smoothing": 0.1})
    programs = engine.compile_programs(bench, entry, point)
    scanned, _ = train(programs, point)
    single, _ = dispatched(programs, point, 4)
    assert np.isfinite(scanned).all()
    assert len(set(scanned)) == 4
    np.testing.assert_array_equal(scanned, single)


# ------------------------------------------------------------------------------------------------ one compilation


def test_a_step_is_traced_once(tmp_path):
    """Its shapes are checked before it is compiled; a second trace would be a good part of a small program's time."""
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}
        traced = []

        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])

            def update(updates, state, params=None):
                traced.append(1)
                return inner.update(updates, state, params)

            return optax.GradientTransformation(inner.init, update)
        """,
    )
    entry = registry.load_submission(source)
    engine.compile_programs(tiny_trial.programs("sgd").bench, entry, entry.resolve({}))
    assert len(entry.author_build.__globals__["traced"]) == 1


def test_further_points_seeds_and_steps_compile_nothing():
    for name in ("nadamw", "schedule_free_adamw", "dog"):
        programs = tiny_trial.programs(name)
        train(programs, programs.submission.resolve({}))
        with CompilationCounter() as counter:
            for k in range(3):
                point = programs.submission.resolve({"learning_rate": 0.1 / (k + 1), "label_smoothing": 0.1 * k})
                key, hyper = programs.key(k), programs.hyper(point)
                params, model_state = programs.start(key)
                carry = Carry(params, model_state, programs.opt_init(params, hyper))
                carry, _ = programs.chunk(carry, hyper, programs.bench.data, key, programs.step_number(8 * k))
                at = engine.evaluation_state(programs, carry, key, programs.step_number(8 * k + 8))
                programs.bench.metrics(*at, "validation")
        assert counter.count == 0, name


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.3},
        {"b1": 0.5},
        {"weight_decay": 0.4},
        {"warmup_fraction": 0.5},
        {"horizon_fraction": 0.3},
        {"label_smoothing": 0.2},
        {"dropout_rate": 0.3},
    ],
    ids=lambda c: next(iter(c)),
)
def test_traced_hyperparameter_changes_the_losses_without_a_compilation(change):
    programs = tiny_trial.programs("nadamw")
    resolve = programs.submission.resolve
    plain, _ = train(programs, resolve({}), 8)
    with CompilationCounter() as counter:
        changed, _ = train(programs, resolve(change), 8)
    assert counter.count == 0
    assert not np.array_equal(plain, changed)


def test_static_hyperparameter_is_compiled_in(tmp_path):
    programs, source = (
        {},
        tiny_trial.write_submission(
            tmp_path,
            """
        SPACE = {"learning_rate": spec.log_uniform(0.01, 1.0), "flip": spec.choice([False, True], static=True)}


        def build(problem, hparams):
            assert isinstance(hparams["flip"], bool)
            return optax.sgd(-hparams["learning_rate"] if hparams["flip"] else hparams["learning_rate"])
        """,
        ),
    )
    entry, losses = registry.load_submission(source), {}
    for flip in (False, True):
        point = entry.resolve({"learning_rate": 0.3, "flip": flip})
        programs[flip] = engine.compile_programs(tiny_trial.bench(), entry, point)
        assert set(programs[flip].hyper(point).hparams) == {"learning_rate"}
        losses[flip], _ = train(programs[flip], point)
    assert losses[False][-1] < losses[False][0]
    assert losses[True][-1] > losses[True][0]


def test_regularisation_does_not_reach_build(tmp_path):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1, "label_smoothing": 0.3, "dropout_rate": 0.2}


        def build(problem, hparams):
            assert set(hparams) == {"learning_rate"}, hparams
            return optax.sgd(**hparams)
        """,
    )
    programs = tiny_trial.programs(source)
    hyper = programs.hyper(programs.submission.resolve({}))
    assert set(hyper.hparams) == {"learning_rate"}
    assert (float(hyper.reg.label_smoothing), float(hyper.reg.dropout_rate)) == pytest.approx((0.3, 0.2))


# ----------------------------------------------------------------------------------------------------- what is given


def test_update_is_given_value_gradient_and_what_it_declares(tmp_path):
    """`value_fn(params)` is `value`, `grad_fn` gives value and gradient, `hvp_fn` the Hessian's product, on the batch."""
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.0}
        EXTRA_ARGS = ("grad_fn", "hvp_fn")


        def build(problem, hparams):
            def init(params):
                return jnp.zeros(5)

            def update(updates, state, params=None, *, value, grad, value_fn, grad_fn, hvp_fn):
                def gap(a, b):
                    return optax.tree.norm(optax.tree.sub(a, b)) / optax.tree.norm(b)

                at, gradient = grad_fn(params)
                ahead = jax.tree.map(lambda p, u: p + 1e-2 * u, params, updates)
                by_difference = jax.tree.map(lambda a, b: (a - b) / 1e-2, grad_fn(ahead)[1], gradient)
                found = [value - value_fn(params), value - at, gap(gradient, grad), gap(grad, updates)]
                state = jnp.stack([*found, gap(hvp_fn(params, updates), by_difference)])
                return jax.tree.map(lambda u: -0.1 * u, updates), state

            return optax.GradientTransformationExtraArgs(init, update)
        """,
    )
    _, carry = train(tiny_trial.programs(source), {"learning_rate": 0.0})
    gaps = np.abs(np.asarray(carry.opt_state))
    np.testing.assert_allclose(gaps[:4], 0, atol=1e-6)
    assert gaps[4] < 0.02


def test_update_is_not_given_what_it_does_not_declare(tmp_path):
    source = tiny_trial.write_submission(
        tmp_path,
        """
        DEFAULTS = {"learning_rate": 0.1}


        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])

            def update(updates, state, params=None, **extra):
                assert set(extra) == {"value", "grad", "value_fn"}, sorted(extra)
                return inner.update(updates, state, params)

            return optax.GradientTransformationExtraArgs(inner.init, update)
        """,
    )
    tiny_trial.programs(source)


KEEPS_ITS_KEYS = """
    DEFAULTS = {"learning_rate": 0.1}
    EXTRA_ARGS = ("key",)


    def build(problem, hparams):
        def init(params):
            return jnp.zeros([], jnp.int32), jnp.zeros((16, 2), jnp.uint32)

        def update(updates, state, params=None, *, key, **extra):
            count, seen = state
            return updates, (count + 1, seen.at[count].set(jax.random.key_data(key)))

        return optax.GradientTransformationExtraArgs(init, update)
    """


@pytest.mark.parametrize("devices", [1, 8])
def test_key_is_a_new_one_in_every_step_and_trial_and_not_the_losss(devices, tmp_path):
    programs = tiny_trial.programs(tiny_trial.write_submission(tmp_path, KEEPS_ITS_KEYS), devices)
    seen = []
    for seed in (3, 4):
        _, carry = train(programs, {"learning_rate": 0.1}, 2, seed)
        seen += [tuple(row) for row in np.asarray(carry.opt_state[1])]
        loss_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))[1]
        seen += [tuple(np.asarray(jax.random.key_data(jax.random.fold_in(loss_key, t)))) for t in range(16)]
    assert len(set(seen)) == 64
    _, again = train(programs, {"learning_rate": 0.1}, 2, 4)
    assert [tuple(row) for row in np.asarray(again.opt_state[1])] == seen[32:48]


KEEPS_PARTS = """
    DEFAULTS = {"learning_rate": 0.1, "k": 4}
    EXTRA_ARGS = ("micro_grad_fn",)


    def build(problem, hparams):
        k = hparams["k"]

        def init(params):
            parts = jax.tree.map(lambda p: jnp.zeros((k, *p.shape)), params)
            return jnp.zeros([]), jnp.zeros((k,)), parts, params

        def update(updates, state, params=None, *, value, micro_grad_fn, **extra):
            return jax.tree.map(jnp.zeros_like, updates), (value, *micro_grad_fn(params, k), updates)  # HERE

        return optax.GradientTransformationExtraArgs(init, update)
    """


@pytest.mark.parametrize(("devices", "k"), [(1, 1), (1, 4), (8, 2), (8, 8), (8, 16)])
def test_micro_gradients_are_those_of_equal_parts_of_the_steps_own_batch(devices, k, tmp_path):
    source = tiny_trial.write_submission(tmp_path, KEEPS_PARTS)
    bench, entry = tiny_trial.bench(devices, running=False), registry.load_submission(source)
    point = {"learning_rate": 0.1, "k": k, "dropout_rate": 0.0}
    programs = engine.compile_programs(bench, entry, point)
    carry, hyper, key = start(programs, point)
    carry, _ = engine.dispatch_step(programs, point)(carry, hyper, bench.data, key, programs.step_number(5))
    value, losses, grads, grad = carry.opt_state
    batch = bench.workload.batch(bench.data, jax.random.split(jax.random.fold_in(key, 1))[0], 5)
    part = jax.tree.map(lambda x: x.reshape(k, 16 // k, *x.shape[1:]), batch)
    for i in range(k):
        rows = jax.tree.map(lambda x, i=i: x[i], part)
        one = jax.value_and_grad(lambda p, b: bench.workload.loss(p, {}, b, key, True, spec.NO_REG)[0])(carry.params, rows)
        found = losses[i], jax.tree.map(lambda g, i=i: g[i], grads)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, one)
    np.testing.assert_allclose(np.mean(losses), value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.mean(a, 0), b, atol=1e-6), grads, grad)


def test_parts_of_a_batch_have_dropout_masks_of_their_own(tmp_path):
    source = tiny_trial.write_submission(tmp_path, KEEPS_PARTS)
    base = tiny_trial.bench(running=False)
    same = {"x": jnp.ones((16, 8)), "label": jnp.zeros(16, jnp.int32)}
    workload = dataclasses.replace(base.workload, batch=lambda data, key, step: same)
    entry, point = registry.load_submission(source), {"learning_rate": 0.1, "k": 4, "dropout_rate": 0.5}
    programs = engine.compile_programs(dataclasses.replace(base, workload=workload), entry, point)
    _, carry = train(programs, point)
    assert len(set(np.asarray(carry.opt_state[1]))) == 4


@pytest.mark.parametrize("k", [0, 3, 32])
def test_parts_that_do_not_divide_the_batch_are_refused(k, tmp_path):
    source = tiny_trial.write_submission(tmp_path, KEEPS_PARTS)
    entry = registry.load_submission(source)
    line = next(n for n, text in enumerate(pathlib.Path(source).read_text().splitlines(), 1) if "# HERE" in text)
    reason = "k must be a whole number that divides the batch of 16 examples"
    message = f"mine.py:{line}: ValueError: micro_grad_fn: {reason}, got {k}"
    with pytest.raises(errors.UserError, match=re.escape(message)):
        engine.compile_programs(tiny_trial.bench(), entry, {"learning_rate": 0.1, "k": k})


def test_problem_holds_numbers_shapes_and_roles_and_no_name():
    problem = tiny_trial.bench().problem
    assert [f.name for f in dataclasses.fields(problem)] == [
        "step_budget",
        "batch_size",
        "num_train_examples",
        "shapes",
        "roles",
    ]
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(problem.shapes))
    assert all(isinstance(leaf, spec.Role) for leaf in jax.tree.leaves(problem.roles))


# -------------------------------------------------------------------------------------------------- what is refused

REFUSED = {
    "large_constant": (
        """
        TABLE = np.arange(20_000, dtype=np.float32)

        def build(problem, hparams):
            def update(updates, state, params=None):
                return jax.tree.map(lambda u: u * jnp.asarray(TABLE)[state], updates), state + 1
            return optax.GradientTransformation(lambda params: jnp.zeros([], jnp.int32), update)
        """,
        ["80000 bytes of constants", "shape (20000,)", "P3"],
    ),
    "large_constant_in_a_branch": (
        """
        TABLE = np.arange(20_000, dtype=np.float32)

        def build(problem, hparams):
            def update(updates, state, params=None):
                scale = jax.lax.cond(state > 3, lambda s: jnp.asarray(TABLE)[s], lambda s: 1.0, state)
                return jax.tree.map(lambda u: u * scale, updates), state + 1
            return optax.GradientTransformation(lambda params: jnp.zeros([], jnp.int32), update)
        """,
        ["80000 bytes of constants", "shape (20000,)", "P3"],
    ),
    "print": (
        """
        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])
            def update(updates, state, params=None):
                jax.debug.print("step")
                return inner.update(updates, state, params)
            return optax.GradientTransformation(inner.init, update)
        """,
        ["effects", "refused (P3)"],
    ),
    "callback": (
        """
        def build(problem, hparams):
            inner = optax.sgd(hparams["learning_rate"])
            def update(updates, state, params=None):
                scale = jax.pure_callback(lambda: np.float32(1), jax.ShapeDtypeStruct((), jnp.float32))
                return inner.update(jax.tree.map(lambda u: u * scale, updates), state, params)
            return optax.GradientTransformation(inner.init, update)
        """,
        ["call", "host", "refused (P3)"],
    ),
    "state_that_changes_its_shape": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                return updates, jnp.zeros((3,))
            return optax.GradientTransformation(lambda params: jnp.zeros((2,)), update)
        """,
        ["optimizer state after an update", "float32[2]", "float32[3]"],
    ),
    "state_that_changes_its_structure": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                return updates, {"a": state["a"], "b": state["a"]}
            return optax.GradientTransformation(lambda params: {"a": jnp.zeros(())}, update)
        """,
        ["optimizer state after an update", "another structure", "'b'"],
    ),
    "parameters_that_change_their_shape": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                return jax.tree.map(lambda u: u[None], updates), state
            return optax.GradientTransformation(lambda params: (), update)
        """,
        ["updates: leaf", "float32[4]", "float32[1, 4]"],
    ),
    "updates_that_broadcast": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                return jax.tree.map(lambda u: jnp.mean(u, axis=0), updates), state
            return optax.GradientTransformation(lambda params: (), update)
        """,
        ["updates: leaf", "float32[4]", "became float32[]"],
    ),
    "updates_that_are_numbers": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                return jax.tree.map(lambda u: 0.0, updates), state
            return optax.GradientTransformation(lambda params: (), update)
        """,
        ["updates: leaf", "became float32[]"],
    ),
    "update_without_params": (
        """
        def build(problem, hparams):
            return optax.GradientTransformation(lambda params: (), lambda updates, state: (updates, state))
        """,
        ["update must take (updates, state, params)", "too many positional arguments"],
    ),
    "init_of_nothing": (
        """
        def build(problem, hparams):
            return optax.GradientTransformation(lambda: (), lambda updates, state, params=None: (updates, state))
        """,
        ["init must take (params)", "too many positional arguments"],
    ),
    "update_that_returns_three": (
        """
        def build(problem, hparams):
            return optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, state, 1))
        """,
        ["update returned tuple of 3", "(updates, state)"],
    ),
    "update_that_returns_updates_alone": (
        """
        def build(problem, hparams):
            return optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: updates)
        """,
        ["update returned", "accepted is (updates, state)"],
    ),
    "wrong_return_type": (
        """
        def build(problem, hparams):
            return lambda params: params
        """,
        ["build returned function", "optax.GradientTransformation"],
    ),
    "missing_hyperparameter": (
        """
        def build(problem, hparams):
            return optax.sgd(hparams["learning_rate"], momentum=hparams["momentum"])  # HERE
        """,
        ["HERE", "KeyError", "momentum", "DEFAULTS", "SPACE"],
    ),
    "branch_on_a_traced_number": (
        """
        def build(problem, hparams):
            if hparams["learning_rate"] > 0.5:  # HERE
                return optax.sgd(hparams["learning_rate"])
            return optax.adam(hparams["learning_rate"])
        """,
        ["HERE", "jnp.where", "static=True"],
    ),
    "branch_on_a_traced_state": (
        """
        def build(problem, hparams):
            def update(updates, state, params=None):
                if state > 0:  # HERE
                    return updates, state
                return updates, state + 1
            return optax.GradientTransformation(lambda params: jnp.zeros(()), update)
        """,
        ["update failed at", "HERE", "jnp.where"],
    ),
    "error_of_its_own": (
        """
        def build(problem, hparams):
            raise RuntimeError("no such problem")  # HERE
        """,
        ["build failed at", "HERE", "RuntimeError: no such problem"],
    ),
    "evaluation_parameters_of_other_shapes": (
        """
        def build(problem, hparams):
            return optax.sgd(hparams["learning_rate"])

        def eval_params(opt_state, params):
            return jax.tree.map(lambda p: p.ravel(), params)
        """,
        ["eval_params", "kernel", "float32[8, 4]", "float32[32]"],
    ),
    "thread_left_behind": (
        """
        import threading, time

        def build(problem, hparams):
            threading.Thread(target=time.sleep, args=(3,), name="helper", daemon=True).start()
            return optax.sgd(hparams["learning_rate"])
        """,
        ["left threads behind", "helper", "refused (P3)"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_submission_that_breaks_the_contract_is_refused_with_the_reason(name, tmp_path):
    body, words = REFUSED[name]
    source = tiny_trial.write_submission(tmp_path, '\n        DEFAULTS = {"learning_rate": 0.1}\n' + body)
    entry = registry.load_submission(source)
    with pytest.raises(errors.UserError) as caught:
        engine.compile_programs(tiny_trial.bench(), entry, entry.resolve({}))
    message = str(caught.value)
    here = [n for n, line in enumerate(pathlib.Path(source).read_text().splitlines(), 1) if "# HERE" in line]
    words = [f"mine.py:{here[0]}:" if w == "HERE" else w for w in words]
    assert [w for w in ["submission mine", *words] if w not in message] == [], message
    assert caught.value.code == 2


def test_constant_below_the_limit_is_accepted(tmp_path):
    body = REFUSED["large_constant"][0].replace("20_000", "16_000").replace("DEFAULTS", "")
    tiny_trial.programs(tiny_trial.write_submission(tmp_path, '\n        DEFAULTS = {"learning_rate": 0.1}\n' + body))


# ------------------------------------------------------------------------------------------------------- evaluation


def test_evaluation_batches_cover_a_split_once():
    split = {"x": np.arange(10, dtype=np.float32)}
    batches = engine.evaluation_batches(split, 4, mesh.make({"data": 1, "fsdp": 1}))
    assert [b["x"].shape for b in batches] == [(4,)] * 3
    rows = np.concatenate([np.asarray(b["x"])[np.asarray(b["mask"]) > 0] for b in batches])
    np.testing.assert_array_equal(rows, split["x"])


def test_metrics_are_sums_in_float64_over_all_batches():
    bench = tiny_trial.bench()
    params, model_state = bench.init(training.put_key(bench.mesh, 0))
    data = bench.workload.load()["validation"]
    whole = bench.workload.evaluate(params, model_state, {**data, "mask": jnp.ones(200)})
    found = bench.metrics(params, model_state, "validation")
    assert found["accuracy"] == float(whole["right"]) / 200


@pytest.mark.parametrize("devices", [1, 8])
def test_gathered_rows_reach_finalise_in_order_and_without_padding(devices):
    base = tiny.build()

    def evaluate(params, model_state, batch):
        return {**base.evaluate(params, model_state, batch), "x": batch["x"], "label": batch["label"]}

    seen = {}

    def finalise(found):
        seen.update(found)
        return base.finalise(found)

    workload = dataclasses.replace(base, evaluate=evaluate, finalise=finalise, gathered=("x", "label"))
    bench = engine.compile_bench(workload, mesh.make({"data": devices, "fsdp": 1}))
    key = training.put_key(bench.mesh, 0)
    metrics = bench.metrics(*bench.init(key), "validation")
    split = workload.load()["validation"]  # 200 examples in batches of 64
    np.testing.assert_array_equal(seen["x"], split["x"])
    np.testing.assert_array_equal(seen["label"], split["label"])
    plain = engine.compile_bench(base, bench.mesh)
    assert metrics == plain.metrics(*plain.init(key), "validation")
