"""The contract checks that `validate` runs on a submission or a workload: one line each, with the mend.

Every check is a function that raises on failure; its docstring's first line is what is shown.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import engine, errors, guard, mesh, registry, spec
from algoperf_lite.data import fetch


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of `validate`."""

    check: str
    ok: bool
    detail: str
    mend: str = ""


class Failure(Exception):
    """A check that failed, with its mend."""

    def __init__(self, detail: str, mend: str):
        super().__init__(detail)
        self.mend = mend


def check(checks: list[tuple[Callable[..., str | None], str]], *args: Any) -> Iterator[Result]:
    """Runs checks one after the other; an unexpected exception is a failure with its type.

    Where a check in `ESSENTIAL` fails, the rest would only repeat it and is left out.
    """
    stopped = False
    for function, mend in checks:
        name = _title(function)
        if stopped:
            continue
        stopped = getattr(function, "__name__", "") in ESSENTIAL
        try:
            detail = function(*args) or ""
            stopped = False
            yield Result(name, True, detail)
        except Failure as e:
            yield Result(name, False, str(e), e.mend)
        except errors.UserError as e:  # has its own mend
            yield Result(name, False, str(e))
        except Exception as e:
            text = str(e).strip().splitlines() or [""]
            yield Result(name, False, f"{type(e).__name__}: {text[0]}", mend)


def _title(function: Callable[..., str | None]) -> str:
    if isinstance(function, functools.partial):
        return f"held-out variant {function.args[0]} builds"
    return (function.__doc__ or function.__name__).splitlines()[0].rstrip(".")


# ------------------------------------------------------------------------------------------- submissions


def toy_params() -> spec.PyTree:
    """A small tree with a matrix, a bias, a scalar and a convolution kernel."""
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "dense": {"kernel": jax.random.normal(keys[0], (6, 4)), "bias": jnp.zeros((4,))},
        "conv": jax.random.normal(keys[1], (3, 3, 2, 4)) * 0.1,
        "scale": jnp.ones(()),
    }


def toy_loss(params: spec.PyTree, shift: jax.typing.ArrayLike = 0.0) -> jax.Array:
    """A convex loss that every parameter enters; `shift` moves the minimum."""
    return jnp.sum(jnp.stack([jnp.sum((leaf - 0.5 - shift) ** 2) for leaf in jax.tree.leaves(params)]))


class _Toy:
    """A submission on the toy problem, with its point split into traced and static."""

    def __init__(self, entry: registry.Submission, changed: Mapping[str, Any] | None = None):
        self.entry, self.params = entry, toy_params()
        self.problem = spec.Problem.from_params(self.params, step_budget=100, batch_size=8)
        point = {**point_of(entry), **(changed or {})}
        self.point = {k: v for k, v in point.items() if k not in spec.RESERVED}
        self.static = entry.static(self.point)
        self.traced = {k: jnp.float32(v) for k, v in self.point.items() if k not in self.static}

    def init(self, params, traced):
        return engine.strong(self.entry.build(self.problem, {**self.static, **traced}).init(params))

    def step(self, params, state, traced, number=0, gradient_scale=1.0):
        tx = self.entry.build(self.problem, {**self.static, **traced})

        def part_loss(p, shift):  # with another target in every part of the batch
            still = toy_loss(jax.lax.stop_gradient(p), shift)
            return still + gradient_scale * (toy_loss(p, shift) - still)

        def loss(p):
            return part_loss(p, 0.0)

        value, grad = jax.value_and_grad(loss)(params)
        extra = engine.extra_args(
            self.entry.EXTRA_ARGS,
            value=value,
            grad=grad,
            loss=loss,
            key=jax.random.fold_in(jax.random.key(0), number),
            part_loss=part_loss,
            parts=lambda k: jnp.mean(engine.split(jnp.linspace(-1.0, 1.0, 8), k, 8), axis=1),
        )
        updates, state = tx.update(grad, state, params, **extra)
        return engine.strong(optax.apply_updates(params, updates)), engine.strong(state)

    def train(self, steps: int, gradient_scale: float = 1.0):
        params, state = self.params, jax.jit(self.init)(self.params, self.traced)
        step = jax.jit(self.step)
        for number in range(steps):
            params, state = step(params, state, self.traced, number, gradient_scale)
        return params, state


def point_of(entry: registry.Submission) -> dict[str, Any]:
    """DEFAULTS, else the middle of SPACE, else its first point."""
    if entry.DEFAULTS is not None:
        return entry.resolve({})
    if isinstance(entry.SPACE, list):
        return entry.resolve(entry.SPACE[0])
    return entry.resolve({n: d.at(0.5) for n, d in (entry.SPACE or {}).items()})


def _has_points(entry: registry.Submission) -> str:
    """SPACE or DEFAULTS are there."""
    if entry.SPACE is None and entry.DEFAULTS is None:
        raise Failure("neither SPACE nor DEFAULTS", "add DEFAULTS = {...} (self-tuning) or SPACE = {...} (external)")
    rulesets = ["self-tuning"] if entry.DEFAULTS is not None else []
    return "runs under: " + ", ".join([*rulesets, "external" + ("" if entry.SPACE else " (untuned)")])


def _traceable(entry: registry.Submission) -> str:
    """build and init are traceable, numeric hyperparameters as scalars, for every value of a static choice."""
    toy = _Toy(entry)
    with engine.blame(entry, "build"):
        jax.eval_shape(toy.init, toy.params, toy.traced)
    space = entry.SPACE if isinstance(entry.SPACE, Mapping) else {}
    for name, dimension in space.items():
        for value in dimension.values if isinstance(dimension, spec.Choice) and dimension.static else ():
            with engine.blame(entry, f"build with {name} = {value!r}"):
                jax.eval_shape(_Toy(entry, {name: value}).init, toy.params, toy.traced)
    return f"{len(toy.traced)} traced, {len(toy.static)} static hyperparameters"


def _keeps_shapes(entry: registry.Submission) -> str:
    """update keeps the structure, shapes and types of parameters and state."""
    toy = _Toy(entry)
    state = jax.eval_shape(toy.init, toy.params, toy.traced)
    params, after = jax.eval_shape(toy.step, toy.params, state, toy.traced)
    engine.check_shapes("parameters after an update", toy.params, params)
    engine.check_shapes("state after an update", state, after)
    size = sum(leaf.size for leaf in jax.tree.leaves(state)) / sum(leaf.size for leaf in jax.tree.leaves(toy.params))
    return f"state is {size:.1f} x the parameters"


def _nothing_smuggled(entry: registry.Submission) -> None:
    """No large constant, callback or effect in the traced programs."""
    toy = _Toy(entry)
    with guard.nothing_left_behind("tracing"):
        state = jax.eval_shape(toy.init, toy.params, toy.traced)
        guard.check_program(jax.make_jaxpr(toy.init)(toy.params, toy.traced), "init")
        guard.check_program(jax.make_jaxpr(toy.step)(toy.params, state, toy.traced), "update")


def _finite(entry: registry.Submission) -> str:
    """Ten steps on a convex toy problem stay finite."""
    toy = _Toy(entry)
    params, _ = toy.train(10)
    before, after = float(toy_loss(toy.params)), float(toy_loss(params))
    if not np.isfinite(after):
        raise Failure(f"loss {before:.3g} -> {after}", "lower the default learning rate, or warm up")
    return f"loss {before:.4g} -> {after:.4g}"


def _zero_gradients(entry: registry.Submission) -> None:
    """Five steps with gradients of zero stay finite."""
    params, state = _Toy(entry).train(5, 0.0)
    for leaf in jax.tree.leaves((params, state)):
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not bool(jnp.all(jnp.isfinite(leaf))):
            raise Failure("a value is not finite", "guard divisions by norms of the gradient with an eps")


def _deterministic(entry: registry.Submission) -> None:
    """Two runs give the same bits."""
    first, second = _Toy(entry).train(3), _Toy(entry).train(3)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key) and not np.array_equal(a, b, equal_nan=True):
            raise Failure("the second run differs", "keep all state in the optimizer state, none in Python globals")


def _eval_params(entry: registry.Submission) -> str:
    """eval_params returns parameters of the same shapes."""
    if entry.eval_params is None:
        return "none: evaluated at the trained parameters"
    toy = _Toy(entry)
    state = jax.eval_shape(toy.init, toy.params, toy.traced)
    engine.check_shapes("eval_params", toy.params, jax.eval_shape(entry.eval_params, state, toy.params))
    return "its own"


SUBMISSION_CHECKS: list[tuple[Callable[..., str | None], str]] = [
    (_has_points, ""),
    (_traceable, "hyperparameters arrive as traced scalars: jnp.where instead of `if`, or spec.choice(.., static=True)"),
    (_keeps_shapes, "make init return exactly what update returns: same keys, shapes and dtypes"),
    (_nothing_smuggled, "compute arrays inside init or update; no callbacks, threads or files"),
    (_finite, "lower the default learning rate, or warm up"),
    (_zero_gradients, "guard divisions by norms of the gradient with an eps"),
    (_deterministic, "keep all state in the optimizer state"),
    (_eval_params, "eval_params(opt_state, params) -> params"),
]


ESSENTIAL = ("_has_points", "_traceable", "has_points", "runs")


def validate_submission(name_or_path: str) -> Iterator[Result]:
    """All checks of a submission; the first line is that it loads."""
    try:
        entry = registry.load_submission(name_or_path)
    except errors.UserError as e:
        yield Result("the file loads", False, str(e))
        return
    yield Result("the file loads", True, f"sha256 {entry.sha256[:12]}")
    yield from check(entry.checks(), entry)


# --------------------------------------------------------------------------------------------- workloads


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
    engine.check_shapes("model state after a step", model_state, after)
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


WORKLOAD_CHECKS: list[tuple[Callable[..., str | None], str]] = [
    (_splits, "see docs/workload.md"),
    (_same_bits, "draw everything from the key"),
    (_loss_and_gradients, "see docs/workload.md"),
    (_roles, "one spec.Role per parameter"),
    (_evaluation, "evaluate returns masked sums, finalise divides them"),
]


def validate_workload(name_or_path: str) -> Iterator[Result]:
    """All checks of a workload; the first line is that it loads."""
    start = time.perf_counter()
    try:
        workload = registry.load_workload(name_or_path)
        for name in workload.data:
            fetch.find(name)
        data = workload.load()
    except errors.EnvironmentFault:  # no fault of the workload
        raise
    except errors.UserError as e:
        yield Result("the file and its data load", False, str(e))
        return
    yield Result("the file and its data load", True, f"{time.perf_counter() - start:.1f} s")
    yield from check(WORKLOAD_CHECKS, workload, data)
    for variant in registry.variants(name_or_path):
        yield from check([(functools.partial(_variant, variant), "see docs/workload.md, Held-out variants")], data)


def _variant(name: str, data: dict) -> str:
    variant = registry.load_workload(name)
    _roles(variant, data)
    batch = jax.eval_shape(variant.batch, data, jax.random.key(0), jnp.int32(0))
    params, model_state = jax.eval_shape(variant.init, jax.random.key(0))

    def loss(p, s, b):
        return variant.loss(p, s, b, jax.random.key(1), True, spec.NO_REG)

    jax.eval_shape(loss, params, model_state, batch)
    return f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters"


def _equal(a: spec.PyTree, b: spec.PyTree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
