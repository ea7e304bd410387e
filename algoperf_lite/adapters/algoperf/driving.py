"""Driving a submission file on any problem that is given as plain functions."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from algoperf_lite.adapters.algoperf import file as files
from algoperf_lite.adapters.algoperf import spec as ap
from algoperf_lite.adapters.algoperf.layout import Jit, Layout, Pmap
from algoperf_lite.adapters.algoperf.session import Session, step_keys
from algoperf_lite.adapters.algoperf.workload import Workload

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Driven:
    """What a file made of a problem.

    Attributes:
      losses: [steps made], each the mean loss of a step's batch at the parameters that the step began with, in training
        mode with the step's own key, without label smoothing and with the model's own dropout rate.
      params, model_state: after the last step, as plain trees of NumPy arrays.
      evaluated: (step, params, model_state) at every evaluation, as `prepare_for_eval` leaves them.
      step: updates made.
      complete: whether the file ended its training itself.
      pmap: whether the file follows the convention of v0.5.
      optimizer_state: as the file holds it.
    """

    losses: np.ndarray
    params: PyTree
    model_state: PyTree
    evaluated: list[tuple[int, PyTree, PyTree]]
    step: int
    complete: bool
    pmap: bool
    optimizer_state: Any


def drive(
    path: str | pathlib.Path,
    *,
    params: PyTree,
    model_fn: Callable[..., tuple[Any, PyTree]],
    loss_fn: Callable[..., Mapping[str, Any]],
    batches: Iterable[Mapping[str, Any]] | Callable[[int], Mapping[str, Any]],
    step_hint: int,
    steps: int,
    model_state: PyTree = None,
    hparams: Mapping[str, Any] | None = None,
    eval_every: int | None = None,
    seed: int = 0,
    name: str = "problem",
    num_train_examples: int = 0,
    dropout_rate: float | None = None,
    devices: Sequence[Any] | None = None,
) -> Driven:
    """Trains by an AlgoPerf submission file, unmodified, on a problem given as plain functions.

    Args:
      path: of the file; follows AlgoPerf 0.6 (jit) or v0.5 (pmap), which is told from its source.
      params: pytree of arrays, nested dicts as flax has them.
      model_fn: called as (params, batch, model_state, mode, rng, update_batch_norm, dropout_rate), returns (logits, new
        model state). `mode` is a member of `ForwardPassMode`; the logits may be any pytree, only `loss_fn` looks at them.
      loss_fn: called as (label_batch, logits_batch, mask_batch, label_smoothing), returns a dict with `summed`, the sum
        over the batch's examples, and `n_valid_examples`. Both functions are traced by the file; label smoothing and
        dropout rate may be traced scalars, the dropout rate also None.
      batches: dicts of arrays [B, ...] with `inputs` and `targets`, perhaps `weights`; an iterable, or a function of the
        number of the batch. B must divide over the devices.
      step_hint: what the file lays its schedules out on.
      steps: updates to make.
      model_state: pytree of running statistics, or None.
      hparams: a point of the file's search space; its values stay Python values. None for files that tune themselves.
      eval_every: steps between evaluations, at which `prepare_for_eval` is called; default only after the last step.
      seed: of the keys that the file is given.
      name: of the problem, for `get_batch_size`; nothing else depends on it.
      dropout_rate: what `model_fn` gets where the file passes none; files of v0.5 never pass one, so the default is then
        the hyperparameter of that name, as upstream.
      devices: default all.

    Raises:
      UserError: a file that cannot run, in one line.
    """
    facts = files.read(pathlib.Path(path))
    layout = (Pmap if facts.pmap else Jit)(devices or jax.devices())
    if dropout_rate is None and facts.pmap:
        dropout_rate = (hparams or {}).get("dropout_rate")
    workload = Workload(
        name=name,
        step_hint=step_hint,
        shapes=params,
        model_fn=model_fn,
        loss_fn=loss_fn,
        num_train_examples=num_train_examples,
        dropout_rate=dropout_rate,
    )
    queue, keys = _Queue(batches, layout), step_keys(jax.random.PRNGKey(seed))
    with files.blame(facts, "loading it"):
        session = Session(facts, layout, workload, files.hyperparameters(hparams), queue, keys)
    with files.blame(facts, "init_optimizer_state"):
        session.init(layout.put(params), layout.put(model_state))
    loss = _loss(workload, layout)
    losses, evaluated, every = [], [], eval_every or steps
    while session.step < steps and not session.complete:
        before = loss(session.params, session.model_state, queue.peek(), keys(session.step)[1])
        with files.blame(facts, f"update_params at step {session.step}"):
            made = session.train(1)
        losses += [before] * made
        if session.step % every == 0 or session.step == steps or session.complete:
            with files.blame(facts, f"prepare_for_eval at step {session.step}"):
                session.prepare()
            evaluated.append((session.step, *_host(session.plain())))
    return Driven(
        losses=np.array([float(x) for x in losses]),
        params=_host(session.plain()[0]),
        model_state=_host(session.plain()[1]),
        evaluated=evaluated,
        step=session.step,
        complete=session.complete,
        pmap=facts.pmap,
        optimizer_state=session.optimizer_state,
    )


class _Queue(Iterator):
    """Batches on the devices, one of which may be looked at before it is taken."""

    def __init__(self, batches: Any, layout: Layout):
        self._batches: Iterator = map(batches, itertools.count()) if callable(batches) else iter(batches)
        self._layout, self._next = layout, None

    def peek(self) -> PyTree:
        """The next batch, plain."""
        if self._next is None:
            try:
                batch: Mapping[str, Any] = next(self._batches)
            except StopIteration:
                raise ValueError("batches ended before the training did") from None
            self._next = jax.tree.map(np.asarray, dict(batch.items()))
        return self._next

    def __next__(self) -> PyTree:
        batch, self._next = self.peek(), None
        return jax.device_put(self._layout.split(batch), self._layout.batch)


def _loss(workload: Workload, layout: Layout) -> Callable[..., jax.Array]:
    @jax.jit
    def loss(params, model_state, batch, rng):
        params, model_state = layout.plain(params, model_state)
        logits, _ = workload.model_fn(params, batch, model_state, ap.ForwardPassMode.TRAIN, rng, update_batch_norm=False)
        found = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return found["summed"] / found["n_valid_examples"]

    return loss


def _host(tree: PyTree) -> PyTree:
    return jax.tree.map(np.array, tree)
