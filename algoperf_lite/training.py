"""One training step as a pure function, and what goes into it: the part of the engine that submissions are called from."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import mesh as meshes
from algoperf_lite import spec
from algoperf_lite.submission import Submission


class Carry(NamedTuple):
    """All that training changes."""

    params: spec.PyTree
    model_state: spec.PyTree
    opt_state: spec.PyTree


class Hyper(NamedTuple):
    """Traced numbers of a trial: float32 scalars on the device."""

    hparams: dict[str, jax.Array]
    reg: spec.Reg


def put_hyper(mesh: jax.sharding.Mesh, submission: Submission, hparams: Mapping[str, Any]) -> Hyper:
    """Complete hyperparameters as scalars on every device of the mesh, without the static ones."""
    static = submission.static(hparams)
    put = functools.partial(meshes.put_replicated, mesh)
    traced = {k: put(np.float32(v)) for k, v in sorted(hparams.items()) if k not in static and k not in spec.RESERVED}
    return Hyper(traced, spec.Reg(*(put(np.float32(hparams.get(name, 0.0))) for name in spec.RESERVED)))


def put_key(mesh: jax.sharding.Mesh, seed: int) -> jax.Array:
    """A typed PRNG key on every device of the mesh."""
    data = meshes.put_replicated(mesh, np.asarray(jax.random.key_data(jax.random.key(seed))))
    return jax.random.wrap_key_data(data)


def initial(workload: spec.Workload) -> Callable[[jax.Array], tuple[spec.PyTree, spec.PyTree]]:
    """(key) -> (parameters, model state) before the first step."""

    def start(key: jax.Array):
        return strong(workload.init(jax.random.fold_in(key, 0)))

    return start


def opt_init(
    submission: Submission, problem: spec.Problem, static: Mapping[str, Any]
) -> Callable[[spec.PyTree, Hyper], spec.PyTree]:
    """(parameters, hyper) -> the optimizer's state before the first step."""

    def begin(params: spec.PyTree, hyper: Hyper):
        return strong(submission.build(problem, {**static, **hyper.hparams}).init(params))

    return begin


def train_step(
    workload: spec.Workload,
    submission: Submission,
    problem: spec.Problem,
    static: Mapping[str, Any],
    mesh: jax.sharding.Mesh,
) -> Callable[[Carry, Hyper, spec.PyTree, jax.Array, jax.Array], tuple[Carry, jax.Array]]:
    """One training step as a pure function of (carry, hyper, data, key, step)."""

    def step(carry: Carry, hyper: Hyper, data: spec.PyTree, key: jax.Array, number: jax.Array):
        tx = submission.build(problem, {**static, **hyper.hparams})
        data_key, loss_key = jax.random.split(jax.random.fold_in(key, 1))
        batch = meshes.constrain_batch(mesh, workload.batch(data, data_key, number))
        step_key = jax.random.fold_in(loss_key, number)

        def loss(params):
            return workload.loss(params, carry.model_state, batch, step_key, True, hyper.reg)

        (value, model_state), grad = jax.value_and_grad(loss, has_aux=True)(carry.params)
        extra = extra_args(
            submission.EXTRA_ARGS,
            value=value,
            grad=grad,
            loss=lambda p: loss(p)[0],
            key=jax.random.fold_in(jax.random.fold_in(key, 3), number),
            part_loss=lambda p, part: workload.loss(p, carry.model_state, *part, True, hyper.reg)[0],
            parts=lambda k: (split(batch, k, workload.batch_size), jax.random.split(step_key, k)),
        )
        updates, opt_state = tx.update(grad, carry.opt_state, carry.params, **extra)
        params = optax.apply_updates(carry.params, updates)
        return strong(Carry(params, model_state, opt_state)), value.astype(jnp.float32)

    return step


def extra_args(
    asked: Sequence[str],
    *,
    value: jax.Array,
    grad: spec.PyTree,
    loss: Callable[[spec.PyTree], jax.Array],
    key: jax.Array,
    part_loss: Callable[[spec.PyTree, spec.PyTree], jax.Array],
    parts: Callable[[int], spec.PyTree],
) -> dict[str, Any]:
    """The extra arguments of `update`: `value`, `grad` and `value_fn`, and of the rest what is asked for.

    No more than that, since line searches forward what they do not know to `value_fn`.

    Args:
      asked: some of `submission.EXTRA_ARGS`.
      loss: parameters -> scalar, on the step's own batch.
      key: the step's own, of no other use.
      part_loss, parts: `parts(k)` is the batch as a pytree with leading axis k, `part_loss(params, part)` the loss on one.
    """
    more = {
        "grad_fn": jax.value_and_grad(loss),
        # Reverse over reverse: a model may have a custom_vjp, which has no forward mode.
        "hvp_fn": lambda params, v: jax.grad(lambda p: optax.tree.vdot(jax.grad(loss)(p), v))(params),
        "key": key,
        "micro_grad_fn": lambda params, k: jax.vmap(jax.value_and_grad(part_loss), (None, 0))(params, parts(k)),
    }
    return {"value": value, "grad": grad, "value_fn": loss, **{name: more[name] for name in asked}}


def split(batch: spec.PyTree, k: int, size: int) -> spec.PyTree:
    """A batch of `size` examples as `k` equal parts of neighbours, on a new leading axis.

    Raises:
      ValueError: k does not divide the batch.
    """
    if not isinstance(k, int) or k < 1 or size % k:
        raise ValueError(f"micro_grad_fn: k must be a whole number that divides the batch of {size} examples, got {k!r}")
    return jax.tree.map(lambda x: x.reshape(k, size // k, *x.shape[1:]), batch)


def scan_chunk(step: Callable, length: int) -> Callable:
    """`length` steps as one program: (carry, hyper, data, key, first) -> (carry, losses [length])."""

    def chunk(carry, hyper, data, key, first):
        return jax.lax.scan(lambda c, i: step(c, hyper, data, key, first + i), carry, jnp.arange(length, dtype=jnp.int32))

    return chunk


def tree_bytes(tree: spec.PyTree) -> int:
    """Bytes of all arrays of a tree, or of their shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def strong(tree: spec.PyTree) -> spec.PyTree:
    """Strips weak types, so that a state has one type from init on (a second one would be a second compilation)."""

    def strip(x):
        if jnp.issubdtype(jnp.asarray(x).dtype, jax.dtypes.prng_key):
            return x
        return jax.lax.convert_element_type(x, jnp.asarray(x).dtype)

    return jax.tree.map(strip, tree)
