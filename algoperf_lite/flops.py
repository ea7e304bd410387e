"""Floating-point operations of a training step, counted from its traced program.

XLA's own count (`cost_analysis`) takes the body of a loop once, whatever its length, and depends on the backend. Here a
scan counts by its length: a recurrent model has the FLOPs of all its time steps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from algoperf_lite import engine, mesh, spec, training
from algoperf_lite.submission import Submission


def flops_per_step(
    bench_or_workload: engine.Bench | spec.Workload, submission: Submission, hparams: Mapping[str, Any]
) -> float:
    """Floating-point operations of one training step over all devices, a multiply-add as two.

    Products of matrices and convolutions are counted, in the model, its gradient and the optimizer; element-wise work,
    reductions and decompositions are not. A scan counts by its length, a loop of unknown length once, a condition by its
    largest branch. What of a convolution falls on padding is left out, as in XLA's count.

    Args:
      bench_or_workload: a workload is loaded for the shapes of its data.
      hparams: a complete point (`Submission.resolve`).
    """
    return step_flops(bench_or_workload, submission, hparams)[0]


def step_flops(
    bench: engine.Bench | spec.Workload, submission: Submission, hparams: Mapping[str, Any]
) -> tuple[float, bool]:
    """As `flops_per_step`, and whether it is a lower bound: a loop of unknown length was counted once."""
    if isinstance(bench, engine.Bench):
        workload, problem, devices, data = bench.workload, bench.problem, bench.mesh, bench.data
    else:
        workload, problem, devices = bench, bench.problem(), mesh.make({"data": 1, "fsdp": 1})
        data = {name: split for name, split in workload.load().items() if name not in engine.SPLITS}
    static = submission.static(hparams)
    number: Any = jax.ShapeDtypeStruct((), np.float32)
    traced = {k: number for k in sorted(hparams) if k not in static and k not in spec.RESERVED}
    hyper = training.Hyper(traced, spec.Reg(*(number for _ in spec.RESERVED)))
    key = jax.random.key(0)
    params, model_state = jax.eval_shape(training.initial(workload), key)
    opt_state = jax.eval_shape(training.opt_init(submission, problem, static), params, hyper)
    step = training.train_step(workload, submission, problem, static, devices)
    carry = training.Carry(params, model_state, opt_state)
    return count_flops(jax.make_jaxpr(step)(carry, hyper, data, key, jax.ShapeDtypeStruct((), np.int32)))


def count_flops(jaxpr: Any) -> tuple[float, bool]:
    """(floating-point operations of a traced program, whether a loop of unknown length was counted once).

    Equations on which no result depends are left out, as the compiler does: a custom gradient returns those of inputs that
    nobody asked for.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return _count(inner, [True] * len(inner.outvars))


def _count(jaxpr: Any, wanted: Sequence[bool]) -> tuple[float, bool]:
    needed = {id(v) for v, want in zip(jaxpr.outvars, wanted, strict=True) if want}
    total, at_least = 0.0, False
    for equation in reversed(jaxpr.eqns):
        live = [id(v) in needed for v in equation.outvars]
        if not any(live) and not equation.effects:
            continue
        needed |= {id(v) for v in equation.invars}
        flops, unknown = _equation(equation, live)
        total, at_least = total + flops, at_least or unknown
    return total, at_least


def _equation(equation: Any, live: list[bool]) -> tuple[float, bool]:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        lhs = equation.invars[0].aval.shape
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(lhs[i] for i in contracted), False
    if name == "conv_general_dilated":
        return _convolution(equation), False
    if name == "scan":
        body = parameters["jaxpr"].jaxpr
        # What is carried has the same shape inside and outside, what is stacked one axis more outside.
        pairs = zip(equation.outvars, body.outvars, live, strict=True)
        flops, unknown = _count(body, [alive or outer.aval.shape == inner.aval.shape for outer, inner, alive in pairs])
        return parameters["length"] * flops, unknown
    inner = [getattr(p, "jaxpr", p) for p in jax.tree.leaves(list(parameters.values()), is_leaf=_is_jaxpr) if _is_jaxpr(p)]
    found = [_count(j, live if len(j.outvars) == len(live) and name != "while" else [True] * len(j.outvars)) for j in inner]
    flops = [f for f, _ in found] or [0.0]
    unknown = any(u for _, u in found) or (name == "while" and sum(flops) > 0)
    return (max(flops) if name == "cond" else sum(flops)), unknown


def _is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def _convolution(equation: Any) -> float:
    """Multiply-adds of pairs (output position, kernel position) that meet an element of the input, along each axis."""
    p = equation.params
    numbers = p["dimension_numbers"]
    lhs, rhs = (v.aval.shape for v in equation.invars)
    out = equation.outvars[0].aval.shape
    pairs = 1
    axes = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    for axis, (i, k, o) in enumerate(axes):
        spread = p["lhs_dilation"][axis]
        at = np.arange(out[o])[:, None] * p["window_strides"][axis] + np.arange(rhs[k]) * p["rhs_dilation"][axis]
        at = at - p["padding"][axis][0]
        pairs *= int(np.sum((at >= 0) & (at <= (lhs[i] - 1) * spread) & (at % spread == 0)))
    return 2.0 * pairs * out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * rhs[numbers.rhs_spec[1]]
