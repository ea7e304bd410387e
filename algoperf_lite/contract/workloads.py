"""What `validate` checks of a workload."""

import itertools
import operator

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite import engine, mesh, registry, spec
from algoperf_lite.contract.checking import Check, Failure
from algoperf_lite.shapes import check_shapes


def _splits(workload: spec.Workload, data: dict) -> str:
    """load returns train, eval_train, validation and test."""
    missing = [s for s in ("train", *engine.SPLITS) if s not in data]
    if missing:
        raise Failure(f"missing: {', '.join(missing)}", "load() -> dict with train, eval_train, validation, test")
    sizes = {}
    for split in engine.SPLITS:
        lengths = {len(a) for a in data[split].values()}
        if len(lengths) != 1:
            raise Failure(f"{split}: leading axes differ: {sorted(lengths)}", "one leading axis of examples per split")
        sizes[split] = lengths.pop()
    if sizes["eval_train"] > 512:
        raise Failure(f"eval_train has {sizes['eval_train']} examples", "at most 512 (P10)")
    return ", ".join(f"{n} {s}" for s, n in sizes.items())


def _same_bits(workload: spec.Workload, data: dict) -> None:
    """init and batch are functions of their key: the same bits for the same key, others for another."""
    a, b, c = (workload.init(jax.random.key(s))[0] for s in (0, 0, 1))
    if not _equal(a, b):
        raise Failure("init(key) differs between two calls", "draw everything from the key")
    if _equal(a, c):
        raise Failure("init(key) does not depend on the key", "draw parameters from the key")
    x, y, z = (workload.batch(data, jax.random.key(s), jnp.int32(t)) for s, t in ((0, 0), (0, 0), (0, 1)))
    if not _equal(x, y) or _equal(x, z):
        raise Failure("batch(data, key, step) is not a function of key and step alone", "fold the step into the key")


def _loss_and_gradients(workload: spec.Workload, data: dict) -> str:
    """The loss is a finite float32 scalar with finite gradients."""
    params, model_state = workload.init(jax.random.key(0))
    batch = workload.batch(data, jax.random.key(0), jnp.int32(0))

    def loss(p):
        return workload.loss(p, model_state, batch, jax.random.key(1), True, spec.NO_REG)

    (value, after), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    if value.shape or value.dtype != jnp.float32 or not np.isfinite(value):
        raise Failure(f"loss is {value.dtype}{list(value.shape)} {value}", "return a float32 scalar")
    if not all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(grad)):
        raise Failure("a gradient is not finite", "look for log(0), sqrt(0) and divisions")
    check_shapes("model state after a step", model_state, after)
    return f"loss at init {float(value):.4g}"


def _roles(workload: spec.Workload, data: dict) -> str:
    """Roles cover every parameter, and their fans multiply to its size."""
    shapes = workload.shapes()
    if jax.tree.structure(shapes) != jax.tree.structure(workload.roles):
        raise Failure("roles have another structure than the parameters", "one spec.Role per parameter")
    for (path, leaf), role in zip(jax.tree.leaves_with_path(shapes), jax.tree.leaves(workload.roles), strict=True):
        if role.fan_in * role.fan_out != leaf.size:
            where = jax.tree_util.keystr(path)
            raise Failure(
                f"{where}: {role.kind} of shape {leaf.shape} has fans {role.fan_in} and {role.fan_out}",
                "fan_in and fan_out are products of the input and output axes",
            )
        if role.kind in spec.HIDDEN_KERNELS and role.fan_in not in itertools.accumulate(leaf.shape[:-1], operator.mul):
            where = jax.tree_util.keystr(path)
            raise Failure(
                f"{where}: {role.kind} of shape {leaf.shape} has fan_in {role.fan_in}, which is no product of leading axes",
                "store kernels with their input axes first, as flax does: methods for matrices read them so",
            )
    return f"{len(jax.tree.leaves(workload.roles))} parameters"


def _evaluation(workload: spec.Workload, data: dict) -> str:
    """Evaluation gives the metric, and does not depend on padding."""
    few = {n: np.asarray(a)[: max(2, workload.eval_batch_size // 2)] for n, a in data["validation"].items()}
    one = mesh.make({"data": 1, "fsdp": 1})
    params, model_state = workload.init(jax.random.key(0))
    values = []
    for size in (len(next(iter(few.values()))), workload.eval_batch_size):
        sums = [
            jax.jit(workload.evaluate)(params, model_state, batch) for batch in engine.evaluation_batches(few, size, one)
        ]
        values.append(workload.finalise(engine.total(workload, sums, len(next(iter(few.values()))))))
    if workload.metric not in values[0]:
        raise Failure(f"finalise gives {sorted(values[0])}", f"it must give {workload.metric!r}")
    a, b = (float(v[workload.metric]) for v in values)
    if not np.isclose(a, b, rtol=1e-4, atol=1e-6):
        raise Failure(f"{workload.metric} is {a} without and {b} with padding", "multiply every sum by batch['mask']")
    return f"{workload.metric} at init {a:.4g}"


CHECKS: list[Check] = [
    (_splits, "see docs/workload.md"),
    (_same_bits, "draw everything from the key"),
    (_loss_and_gradients, "see docs/workload.md"),
    (_roles, "one spec.Role per parameter"),
    (_evaluation, "evaluate returns masked sums, finalise divides them"),
]


def variant(name: str, data: dict) -> str:
    held_out = registry.load_workload(name)
    _roles(held_out, data)
    batch = jax.eval_shape(held_out.batch, data, jax.random.key(0), jnp.int32(0))
    params, model_state = jax.eval_shape(held_out.init, jax.random.key(0))

    def loss(p, s, b):
        return held_out.loss(p, s, b, jax.random.key(1), True, spec.NO_REG)

    jax.eval_shape(loss, params, model_state, batch)
    return f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters"


def _equal(a: spec.PyTree, b: spec.PyTree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
