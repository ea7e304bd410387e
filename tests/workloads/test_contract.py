"""What every workload and every held-out variant promises, on small widths."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import engine, mesh, registry, spec
from tests.workloads.cases import CASES, LITE, MICRO

ONE = mesh.make({"data": 1, "fsdp": 1})
EIGHT = mesh.make({"data": 8, "fsdp": 1})


@dataclasses.dataclass(frozen=True)
class Built:
    """A workload with its data and compiled functions. `step`: loss, gradients and state from parameters and a batch."""

    case: object
    workload: spec.Workload
    data: dict
    init: object
    batch: object
    step: object
    evaluate: object


@functools.cache
def _data(case):
    return case.build().load()


@functools.cache
def _build(case, variant=""):
    workload = case.build_variant(variant) if variant else case.build()
    return Built(
        case,
        workload,
        _data(case),
        jax.jit(workload.init),
        jax.jit(workload.batch),
        jax.jit(jax.value_and_grad(workload.loss, has_aux=True), static_argnums=4),
        jax.jit(workload.evaluate),
    )


def _cases(cases):
    return [pytest.param(case, id=case.name, marks=pytest.mark.xdist_group(case.name)) for case in cases]


@pytest.fixture
def built(request):
    if request.param in LITE:
        request.getfixturevalue("real_data")
    return _build(request.param)


every_case = pytest.mark.parametrize("built", _cases(CASES), indirect=True)


def _start(built, seed=0):
    key = jax.random.key(seed)
    return key, *built.init(key), built.batch({"train": built.data["train"]}, key, 0)


def _chance(built, batch):
    chance = built.case.chance
    return chance(batch) if callable(chance) else chance


def _metrics(built, params, state, examples, size):
    parts = [built.evaluate(params, state, b) for b in engine.evaluation_batches(examples, size, ONE)]
    return built.workload.finalise(engine.total(built.workload, parts, len(next(iter(examples.values())))))


def test_the_table_has_every_shipped_workload():
    assert {case.name for case in CASES} == set(registry.names("workloads"))
    assert {case.name for case in MICRO} == {n for n in registry.names("workloads") if _tier(n) == "micro"}


@functools.cache
def _tier(name):
    return registry.load_workload(name).tier


@every_case
def test_data_and_batches(built):
    w, (_, params, state, batch) = built.workload, _start(built)
    for split in ("eval_train", "validation", "test"):
        assert len({len(leaf) for leaf in built.data[split].values()}) == 1
    assert len(next(iter(built.data["eval_train"].values()))) <= 512
    assert {leaf.shape[0] for leaf in jax.tree.leaves(batch)} == {w.batch_size}
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    key = jax.random.key(3)
    same, other = (built.batch({"train": built.data["train"]}, key, step) for step in (7, 8))
    again = built.batch({"train": built.data["train"]}, key, 7)
    jax.tree.map(np.testing.assert_array_equal, same, again)
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, same, other)))


@every_case
def test_loss_starts_at_chance_and_repeats_to_the_bit(built):
    key, params, state, batch = _start(built)
    (loss, new), grads = built.step(params, state, batch, key, True, spec.NO_REG)
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(_chance(built, batch), rel=0.1)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    again = built.step(*_start(built)[1:], key, True, spec.NO_REG)
    jax.tree.map(np.testing.assert_array_equal, ((loss, new), grads), again)


def _overfit(built, steps, learning_rate=0.01):
    """Losses of Adam on one batch, and the gradients of the last step."""
    key, params, state, batch = _start(built)
    adam = optax.adam(learning_rate)

    @jax.jit
    def update(params, opt_state, grads):
        updates, opt_state = adam.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state

    opt_state, losses = adam.init(params), []
    for _ in range(steps):
        (loss, state), grads = built.step(params, state, batch, key, True, spec.NO_REG)
        params, opt_state = update(params, opt_state, grads)
        losses.append(float(loss))
    return losses, grads


def _assert_every_gradient(grads):
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.all(np.isfinite(grad)), path
        assert np.any(grad != 0), path


@every_case
def test_one_batch_is_overfitted_and_every_parameter_learns(built):
    losses, grads = _overfit(built, 60)
    assert min(losses[-5:]) < 0.5 * losses[0]
    _assert_every_gradient(grads)


@every_case
def test_regularisation_is_traced(built):
    key, params, state, batch = _start(built)
    rng = np.random.default_rng(0)  # away from a zero readout, whose loss knows no regularisation
    params = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape, np.float32), params)

    def value(reg, key=key):
        return float(built.step(params, state, batch, key, True, reg)[0][0])

    plain = value(spec.Reg(0.0, 0.0))
    assert plain == value(spec.Reg(0.0, 0.0), jax.random.key(9))
    assert (value(spec.Reg(0.1, 0.0)) != plain) == (built.workload.family != "reconstruction")  # L1 has no labels
    assert value(spec.Reg(0.0, 0.3)) != plain
    assert value(spec.Reg(0.0, 0.3)) != value(spec.Reg(0.0, 0.3), jax.random.key(9))


@every_case
def test_evaluation_depends_on_neither_batch_size_nor_padding(built):
    w, (_, params, state, _) = built.workload, _start(built)
    examples = {name: leaf[:24] for name, leaf in built.data["validation"].items()}
    whole = _metrics(built, params, state, examples, 12)
    assert w.metric in whole
    assert all(isinstance(value, float) and math.isfinite(value) for value in whole.values())
    for name, value in _metrics(built, params, state, examples, 16).items():
        # A standard error is a difference of nearly equal float32 sums.
        assert value == pytest.approx(whole[name], rel=0.1 if name.endswith("_se") else 1e-5, abs=1e-7), name
    batch = engine.evaluation_batches(examples, 16, ONE)[1]  # 8 rows, and as many of padding
    mask = np.asarray(batch["mask"])
    assert mask.sum() == 8
    junk = {name: jnp.where(mask.reshape(-1, *[1] * (x.ndim - 1)) > 0, x, jnp.flip(x, 0)) for name, x in batch.items()}
    real = built.evaluate(params, state, batch)
    for name, value in built.evaluate(params, state, {**junk, "mask": batch["mask"]}).items():
        keep = slice(8) if name in w.gathered else slice(None)
        np.testing.assert_array_equal(np.atleast_1d(value)[keep], np.atleast_1d(real[name])[keep], err_msg=name)


@every_case
def test_roles_match_the_shapes(built):
    w = built.workload
    shapes = w.shapes()
    assert jax.tree.structure(w.roles) == jax.tree.structure(shapes)
    full = registry.load_workload(w.name, **{k: v for k, v in built.case.small.items() if k != "width"}).shapes()
    for role, leaf, wide in zip(*map(jax.tree.leaves, (w.roles, shapes, full)), strict=True):
        assert (role.fan_in, role.fan_out) == (math.prod(leaf.shape[:-1]), leaf.shape[-1] if leaf.shape else 1)
        assert (role.base_fan_in, role.base_fan_out) == (math.prod(wide.shape[:-1]), wide.shape[-1] if wide.shape else 1)
    assert "readout" in {role.kind for role in jax.tree.leaves(w.roles)}


@every_case
def test_depth_adds_modules(built):
    deeper = built.case.build(depth=built.case.small["depth"] + 1)

    def modules(workload):
        return len(functools.reduce(lambda tree, name: tree[name], built.case.stacks, workload.shapes()))

    assert modules(deeper) > modules(built.workload)
    assert deeper.problem().step_budget == built.workload.step_budget


@pytest.mark.slow
@pytest.mark.parametrize(
    "built", _cases(MICRO) + [pytest.param(c, id=c.name, marks=pytest.mark.long) for c in LITE], indirect=True
)
def test_eight_devices_give_the_loss_and_gradients_of_one(built):
    key, params, state, batch = _start(built)
    rng = np.random.default_rng(0)  # a readout of zeros would hide every other gradient
    params = jax.tree.map(lambda p: np.asarray(p + 0.1 * rng.standard_normal(p.shape, np.float32)), params)
    (loss, new), grads = built.step(params, state, batch, key, True, spec.NO_REG)
    put = functools.partial(jax.device_put, device=mesh.replicated(EIGHT))
    split = mesh.put_batch(EIGHT, jax.tree.map(np.asarray, batch))
    (loss8, new8), grads8 = built.step(put(params), put(state), split, key, True, spec.NO_REG)
    assert float(loss8) == pytest.approx(float(loss), rel=1e-5)
    for a, b in zip(*map(jax.tree.leaves, ((grads, new), (grads8, new8))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * max(1.0, float(jnp.max(jnp.abs(a)))))


# ---------------------------------------------------------------------------------------------------- held-out variants

VARIANTS = [
    pytest.param(
        case,
        name,
        id=name,
        marks=[pytest.mark.xdist_group(case.name), *([pytest.mark.long] if case in LITE else [])],
    )
    for case in CASES
    for name in registry.variants(case.name)
]


def test_every_family_has_two_variants_or_more():
    families = {}
    for case in MICRO:
        families.setdefault(registry.load_workload(case.name).family, []).extend(registry.variants(case.name))
    assert len(families) == 9
    assert all(len(names) >= 2 for names in families.values()), families


@pytest.mark.parametrize(("case", "name"), VARIANTS)
def test_variant_is_another_network_that_learns(case, name, request):
    if case in LITE:
        request.getfixturevalue("real_data")
    built = _build(case, name)
    key, params, state, batch = _start(built)
    losses, grads = _overfit(built, 12)
    _assert_every_gradient(grads)
    assert losses[0] == pytest.approx(_chance(built, batch), rel=0.5)
    assert min(losses) < 0.9 * losses[0]
    base = _build(case)
    same = jax.tree.structure(params) == jax.tree.structure(base.init(key)[0])
    if same and [p.shape for p in jax.tree.leaves(params)] == [p.shape for p in jax.tree.leaves(base.init(key)[0])]:
        rng = np.random.default_rng(0)
        moved = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape, np.float32), params)
        own = built.step(moved, state, batch, key, True, spec.NO_REG)[0][0]
        other = base.step(moved, base.init(key)[1], batch, key, True, spec.NO_REG)[0][0]
        initial = jax.tree.map(np.array_equal, params, base.init(key)[0])
        drawn = jax.tree.map(np.array_equal, batch, _start(base)[3])
        assert float(own) != float(other) or not all(jax.tree.leaves((initial, drawn)))
    w = built.workload
    assert (w.held_out_of, w.step_budget, w.batch_size) == (case.name, base.workload.step_budget, base.workload.batch_size)
    examples = {leaf: values[:16] for leaf, values in built.data["validation"].items()}
    assert math.isfinite(_metrics(built, params, state, examples, 16)[w.metric])
