"""What every workload promises, on small widths."""

import dataclasses
import functools
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import spec


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload at a size that tests can afford. `chance`: nats of the uniform answer."""

    name: str
    width: int
    depth: int
    chance: float


CASES = (
    Case("digits_resnet", 4, 1, math.log(10)),
    Case("digits_vit", 16, 1, math.log(10)),
    Case("markov_lm", 32, 1, math.log(64)),
    Case("shakespeare_lm", 32, 1, math.log(256)),
)


@dataclasses.dataclass(frozen=True)
class Built:
    """A built case with its data and compiled functions."""

    case: Case
    workload: spec.Workload
    data: dict
    init: object
    batch: object
    loss: object
    evaluate: object


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def built(request, tmp_path, monkeypatch):
    case = request.param
    if case.name == "shakespeare_lm":
        monkeypatch.setenv("ALGOPERF_LITE_MIRROR", str(request.getfixturevalue("mirror")))
        monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path))
    return _build(case)


@functools.cache
def _build(case):
    workload = _module(case).build(width=case.width, depth=case.depth)
    return Built(
        case,
        workload,
        workload.load(),
        jax.jit(workload.init),
        jax.jit(workload.batch),
        jax.jit(jax.value_and_grad(workload.loss, has_aux=True), static_argnums=4),
        jax.jit(workload.evaluate),
    )


def _module(case):
    return importlib.import_module(f"workloads.{case.name}")


def _start(built, seed=0):
    key = jax.random.key(seed)
    return key, *built.init(key), built.batch({"train": built.data["train"]}, key, 0)


def test_data_and_batches(built):
    w, (_, params, state, batch) = built.workload, _start(built)
    for split in ("eval_train", "validation", "test"):
        assert len({len(leaf) for leaf in built.data[split].values()}) == 1
    assert {leaf.shape[0] for leaf in jax.tree.leaves(batch)} == {w.batch_size}
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    key = jax.random.key(3)
    same, other = (built.batch({"train": built.data["train"]}, key, step) for step in (7, 8))
    again = built.batch({"train": built.data["train"]}, key, 7)
    jax.tree.map(np.testing.assert_array_equal, same, again)
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, same, other)))


def test_loss_starts_at_chance_and_repeats(built):
    key, params, state, batch = _start(built)
    (loss, new), grads = built.loss(params, state, batch, key, True, spec.NO_REG)
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(built.case.chance, rel=0.05)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    again = built.loss(*_start(built)[1:], key, True, spec.NO_REG)
    jax.tree.map(np.testing.assert_array_equal, ((loss, new), grads), again)


def test_every_parameter_learns(built):
    key, params, state, batch = _start(built)
    losses = []
    for _ in range(4):
        (loss, state), grads = built.loss(params, state, batch, key, True, spec.NO_REG)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
        losses.append(float(loss))
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.all(np.isfinite(grad)), path
        assert np.any(grad != 0), path
    assert losses[-1] < losses[0]


def test_regularisation_is_traced(built):
    key, params, state, batch = _start(built)
    rng = np.random.default_rng(0)  # away from a zero readout, whose loss knows no regularisation
    params = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape, np.float32), params)

    def value(reg, key=key):
        return float(built.loss(params, state, batch, key, True, reg)[0][0])

    plain = value(spec.Reg(0.0, 0.0))
    assert plain == value(spec.Reg(0.0, 0.0), jax.random.key(9))
    assert value(spec.Reg(0.1, 0.0)) != plain
    assert value(spec.Reg(0.0, 0.3)) != plain
    assert value(spec.Reg(0.0, 0.3)) != value(spec.Reg(0.0, 0.3), jax.random.key(9))


def test_evaluation_depends_on_neither_batch_size_nor_padding(built):
    w, (_, params, state, _) = built.workload, _start(built)
    examples = {name: leaf[:24] for name, leaf in built.data["validation"].items()}

    def metrics(size):
        total = None
        for start in range(0, 24, size):
            rows = {name: leaf[start : start + size] for name, leaf in examples.items()}
            missing = size - len(next(iter(rows.values())))
            mask = np.r_[np.ones(size - missing, np.float32), np.zeros(missing, np.float32)]
            padded = {
                name: np.concatenate([leaf, np.full((missing, *leaf.shape[1:]), 3, leaf.dtype)])
                for name, leaf in rows.items()
            }
            sums = built.evaluate(params, state, {**padded, "mask": mask})
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
        return w.finalise(jax.device_get(total))

    whole = metrics(24)
    assert w.metric in whole
    assert all(isinstance(value, float) and math.isfinite(value) for value in whole.values())
    for size in (16, 7):
        for name, value in metrics(size).items():  # a standard error is a difference of nearly equal float32 sums
            assert value == pytest.approx(whole[name], rel=0.1 if name.endswith("_se") else 1e-5), name


def test_roles_match_the_shapes(built):
    w = built.workload
    shapes = w.shapes()
    assert jax.tree.structure(w.roles) == jax.tree.structure(shapes)
    base = _module(built.case).build(depth=built.case.depth).shapes()
    for role, leaf, wide in zip(*map(jax.tree.leaves, (w.roles, shapes, base)), strict=True):
        assert (role.fan_in, role.fan_out) == (math.prod(leaf.shape[:-1]), leaf.shape[-1])
        assert (role.base_fan_in, role.base_fan_out) == (math.prod(wide.shape[:-1]), wide.shape[-1])
    kinds = {role.kind for role in jax.tree.leaves(w.roles)}
    assert {"norm", "readout"} <= kinds


def test_depth_adds_blocks(built):
    deeper = _module(built.case).build(width=built.case.width, depth=2 * built.case.depth)
    assert len(deeper.shapes()["blocks"]) == 2 * len(built.workload.shapes()["blocks"])
    assert deeper.problem().step_budget == built.workload.step_budget
