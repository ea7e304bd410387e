"""What `validate` checks of a submission: on a small problem, and on the micro workloads."""

import dataclasses
import itertools
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite import checkpoint, engine, errors, guard, registry, spec
from algoperf_lite.contract.checking import Check, Failure
from algoperf_lite.contract.micro import OnWorkloads
from algoperf_lite.contract.toy import Toy, row, toy_loss, toy_params
from algoperf_lite.shapes import check_shapes
from algoperf_lite.submission import Submission, plain_name

GOOD = (1.0,)
STATIC_POINTS = 16  # combinations of static choices that are tried
REFUSALS = (errors.UserError, TypeError, ValueError, NotImplementedError)


def _has_points(entry: Submission) -> str:
    """SPACE or DEFAULTS are there."""
    if entry.SPACE is None and entry.DEFAULTS is None:
        raise Failure("neither SPACE nor DEFAULTS", "add DEFAULTS = {...} (self-tuning) or SPACE = {...} (external)")
    if isinstance(entry.SPACE, list):
        entry.points("external", 0, 1)  # refuses too few
    rulesets = ["self-tuning"] if entry.DEFAULTS is not None else []
    return "runs under: " + ", ".join([*rulesets, "external" + ("" if entry.SPACE else " (untuned)")])


def _traceable(entry: Submission) -> str:
    """build and init are traceable, numeric hyperparameters as scalars, for every value of a static choice."""
    toy = Toy(entry)
    with engine.blame(entry, "build"):
        jax.eval_shape(toy.init, toy.params, toy.traced)
    for name, values in _static_choices(entry).items():
        for value in values:
            with engine.blame(entry, f"build with {name} = {value!r}"):
                jax.eval_shape(Toy(entry, {name: value}).init, toy.params, toy.traced)
    return f"{len(toy.traced)} traced, {len(toy.static)} static hyperparameters"


def _uses_space(entry: Submission) -> str:
    """build uses every dimension of SPACE."""
    space, static = entry.SPACE if isinstance(entry.SPACE, Mapping) else {}, _static_choices(entry)
    unused = {plain_name(name) for name in space} - set(spec.RESERVED)
    for values in itertools.islice(itertools.product(*static.values()), STATIC_POINTS):
        if unused:
            changed = dict(zip(static, values, strict=True))
            program = _program(entry, changed)
            unused = {name for name in unused if _program(entry, changed, without=name) == program}
    if unused:
        raise Failure(f"not {', '.join(sorted(unused))}", "use it in `build`, or take it out of SPACE")
    return errors.counted(len(space), "dimension")


def _static_choices(entry: Submission) -> dict[str, tuple]:
    """The values of every dimension of SPACE that changes the program."""
    space = entry.SPACE if isinstance(entry.SPACE, Mapping) else {}
    return {name: d.values for name, d in space.items() if isinstance(d, spec.Choice) and d.static}


def _program(entry: Submission, changed: Mapping[str, Any], without: str = "") -> str | None:
    """init and update as text; None where they cannot be traced `without` a hyperparameter."""

    def build(problem: spec.Problem, hparams: Mapping[str, Any]):
        return entry.author_build(problem, {name: value for name, value in hparams.items() if name != without})

    toy = Toy(dataclasses.replace(entry, author_build=build), changed)
    try:
        state = jax.eval_shape(toy.init, toy.params, toy.traced)
        programs = jax.make_jaxpr(toy.init)(toy.params, toy.traced), jax.make_jaxpr(toy.step)(toy.params, state, toy.traced)
    except Exception:
        if not without:
            raise
        return None
    return _without_addresses("\n".join(map(str, programs)))


def _keeps_shapes(entry: Submission) -> None:
    """update keeps the structure, shapes and types of parameters and state."""
    toy = Toy(entry)
    try:
        with engine.blame(entry, "update"):
            _check_shapes(toy)
    except errors.UserError as e:
        raise Failure(
            str(e), "update(updates, state, params) returns updates and state as they came, in shapes and types"
        ) from e


def _check_shapes(toy: Toy) -> None:
    state = jax.eval_shape(toy.init, toy.params, toy.traced)
    params, after = jax.eval_shape(toy.step, toy.params, state, toy.traced)
    check_shapes("parameters after an update", toy.params, params)
    check_shapes("state after an update", state, after)


def _nothing_smuggled(entry: Submission) -> None:
    """No large constant, callback or effect in the traced programs."""
    toy = Toy(entry)
    with guard.nothing_left_behind("tracing"):
        state = jax.eval_shape(toy.init, toy.params, toy.traced)
        guard.check_program(jax.make_jaxpr(toy.init)(toy.params, toy.traced), "init")
        guard.check_program(jax.make_jaxpr(toy.step)(toy.params, state, toy.traced), "update")


def _finite(entry: Submission) -> str:
    """Ten steps on a convex toy problem stay finite."""
    toy = Toy(entry)
    params, _ = toy.train(10 * GOOD)
    before, after = float(toy_loss(toy.params)), float(toy_loss(params))
    if not np.isfinite(after):
        if not _is_finite(toy.train(GOOD)):
            raise Failure(
                "the first update is not finite, though its gradient is", "look for 0 / 0, or a root or logarithm of 0"
            )
        raise Failure(f"loss {before:.3g} -> {after}", "lower the default learning rate, or warm up")
    rose = "; it rose: updates are added to the parameters, is a minus sign missing?" if after > before else ""
    return f"loss {before:.4g} -> {after:.4g}{rose}"


def _zero_gradients(entry: Submission) -> None:
    """Gradients of zero leave everything finite, and training goes on after them."""
    toy = Toy(entry)
    for scales, when in ((5 * (0.0,), "after 5 steps"), (2 * (0.0,) + 3 * GOOD, "after 2 and 3 with others")):
        if not _is_finite(toy.train(scales)):
            raise Failure(f"a value is not finite {when}", "guard divisions by norms of the gradient with an eps")


def _nan_gradients(entry: Submission) -> str:
    """A gradient that is NaN shows in the parameters, or is left out and training goes on."""
    toy = Toy(entry)
    struck = toy.train((*GOOD, float("nan")))
    if not _is_finite(struck[0]):
        return "it shows: the trial ends as diverged"
    later = toy.train(5 * GOOD, struck, 2)
    if not _is_finite(later[0]):
        return "it shows in the next steps: the trial ends as diverged"
    if any(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(struck[0]), jax.tree.leaves(later[0]), strict=True)):
        raise Failure(
            "parameters stay finite and never move again: a dead run that looks alive",
            "let NaN through to the parameters, or leave the whole step out, state and all",
        )
    return "the step is left out; its loss, where NaN, still ends the trial as diverged"


def _scalars(entry: Submission) -> None:
    """0-d leaves are trained, among others and alone."""
    for params in (toy_params(), {"scale": jnp.ones(())}):
        before = params["scale"]
        toy = Toy(entry, params=params)
        _check_shapes(toy)
        after = toy.train(10 * GOOD)[0]["scale"]
        if not np.isfinite(after) or after == before:
            raise Failure(f"a scalar parameter is {float(after)} after ten steps, {float(before)} before", "mind ndim == 0")


def _bfloat16(entry: Submission) -> str:
    """bfloat16 parameters are refused, or trained as float32 ones within their rounding."""
    # So near to 0 that rounding swallows no step, however short: some methods measure how far the parameters have come.
    steps, narrow = 10, jax.tree.map(lambda x: (x * 2.0**-12).astype(jnp.bfloat16), toy_params())
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    toy = Toy(entry, params=narrow)
    try:
        state = jax.eval_shape(toy.init, toy.params, toy.traced)
        jax.eval_shape(toy.step, toy.params, state, toy.traced)
    except REFUSALS as e:
        return f"refused: {(str(e).splitlines() or [''])[0]}"
    _check_shapes(toy)
    found, right = (row(Toy(entry, params=params).way(steps)) for params in (narrow, wide))
    gap, way = (float(np.linalg.norm(x)) for x in (found - right, right))
    # Rounded parameters and gradients turn some steps; a sum that stopped growing, or a lost update, shows in most.
    if not gap <= 0.25 * way:
        raise Failure(
            f"the sum of {steps} updates is {gap:.2g} away from the float32 run's, of norm {way:.2g}",
            "keep sums and averages in float32",
        )
    return f"the sum of {steps} updates within {gap / max(way, 1e-30):.1g} of the float32 run's"


def _restarts(entry: Submission) -> None:
    """A restart from a checkpoint gives the same bits."""
    whole = Toy(entry).train(6 * GOOD)
    half = Toy(entry).train(3 * GOOD)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(pathlib.Path(folder), 3, half, {})
        found = checkpoint.restore(pathlib.Path(folder), jax.tree.map(_abstract, half))
    assert found is not None
    if not _same_bits(Toy(entry).train(3 * GOOD, found[0], 3), whole):
        raise Failure("the restarted run differs", "keep all memory in the optimizer state, none in Python")


def _deterministic(entry: Submission) -> None:
    """Two traces give the same program, and two runs the same bits."""
    anew = registry.load_submission(entry.source)  # as before its first trace; what counts traces may have come to an end
    toys = Toy(anew), Toy(anew), Toy(entry)
    traces = [str(jax.make_jaxpr(t.step)(t.params, jax.eval_shape(t.init, t.params, t.traced), t.traced)) for t in toys]
    mend = "no Python globals, clocks or random numbers of the host: all memory in the optimizer state, `key` for chance"
    if len(set(map(_without_addresses, traces))) > 1:
        raise Failure("the second trace is another program", mend)
    if not _same_bits(*(t.train(3 * GOOD) for t in toys[1:])):
        raise Failure("the second run differs", mend)


def _eval_params(entry: Submission) -> str:
    """eval_params returns parameters of the same shapes."""
    if entry.eval_params is None:
        return "none: evaluated at the trained parameters"
    toy = Toy(entry)
    state = jax.eval_shape(toy.init, toy.params, toy.traced)
    check_shapes("eval_params", toy.params, jax.eval_shape(entry.eval_params, state, toy.params))
    return "its own"


CHECKS: list[Check] = [
    (_has_points, ""),
    (_traceable, "hyperparameters arrive as traced scalars: jnp.where instead of `if`, or spec.choice(.., static=True)"),
    (_keeps_shapes, ""),
    (_uses_space, ""),
    (_nothing_smuggled, "compute arrays inside init or update; no callbacks, threads or files"),
    (_finite, "lower the default learning rate, or warm up"),
    (_zero_gradients, "guard divisions by norms of the gradient with an eps"),
    (_nan_gradients, "let NaN through to the parameters"),
    (_scalars, "a 0-d leaf is no matrix: mind its shape ()"),
    (_bfloat16, "make state of the types that init is given, not of problem.shapes"),
    (_restarts, "keep all memory in the optimizer state, as arrays"),
    (_deterministic, "keep all memory in the optimizer state"),
    (_eval_params, "eval_params(opt_state, params) -> params"),
]


def on_workloads(entry: Submission) -> list[Check]:
    """The checks that train on the micro workloads; what several of them look at is made once."""
    found = OnWorkloads(entry)
    return [
        (found.finite, "lower the default learning rate, or warm up"),
        (found.same_on_eight_devices, "compute on whole arrays, the harness shards them"),
        (found.memory, ""),
        (found.cost, ""),
    ]


def _is_finite(tree: spec.PyTree) -> bool:
    return all(np.all(np.isfinite(np.asarray(x, np.float32))) for x in jax.tree.leaves(_plain(tree)))


def _same_bits(a: spec.PyTree, b: spec.PyTree) -> bool:
    pairs = zip(jax.tree.leaves(_plain(a)), jax.tree.leaves(_plain(b)), strict=True)
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def _plain(tree: spec.PyTree) -> spec.PyTree:
    """Keys as their data, floats as they are; what NumPy can compare."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if _is_key(x) else x), tree)


def _is_key(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _without_addresses(program: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", program)
