"""A submission file on a workload, in the shape in which the trial loop and the clock know programs.

A chunk is one evaluation interval of the file's own steps, then its `prepare_for_eval`, whose result is trained on: all of
it is charged. Batches are those that every entrant of the trial meets.
"""

import contextlib
import dataclasses
import gc
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from algoperf_lite import engine, environment, errors, guard, spec, training
from algoperf_lite import mesh as meshes
from algoperf_lite.adapters.algoperf import file as files
from algoperf_lite.adapters.algoperf import workload as workloads
from algoperf_lite.adapters.algoperf.entry import Entry
from algoperf_lite.adapters.algoperf.layout import Jit, Layout, Pmap
from algoperf_lite.adapters.algoperf.session import Session, step_keys

REHEARSED = 3  # steps before an evaluation: the second often compiles anew, since what it is given lies elsewhere


@dataclasses.dataclass(frozen=True, eq=False)
class Stepwise(engine.Programs):
    """`engine.Programs` of a submission file. Its carry is a `Run`, and nothing of it can be saved and taken up again."""

    layout: Layout
    plain: Callable  # (params, model_state) of a session -> as the workload's programs take them
    draw: Callable  # (data, key, number) -> batch, in the layout
    loss: Callable  # (params, model_state, data, key, number) -> loss on a batch

    def hyper(self, hparams: Mapping[str, Any]) -> Any:
        """The point as a named tuple of Python values; None for a file that tunes itself."""
        return files.hyperparameters(dict(hparams) or None)

    def set_up(self, key: jax.Array, hyper: Any) -> Any:
        """The file loaded afresh, with initial parameters; uncharged.

        JAX keeps what an earlier trial has compiled, by its workload object, for as long as the process lives, and a few
        dozen trials of that are more memory mappings than the kernel allows.
        """
        if environment.crowded():
            jax.clear_caches()
            gc.collect()
            with contextlib.suppress(errors.UserError):  # the trial meets the same fault, and its outcome says so
                _rehearse(self, hyper, key)  # no trial is to begin with less compiled than the others
        return Run(self, key, hyper)

    def begin(self, carry: Any, hyper: Any) -> Any:
        """With the optimizer's state; charged."""
        del hyper
        carry.begin()
        return carry


class Run:
    """A file's training on a workload, which stands where a native submission has its `Carry`."""

    def __init__(self, programs: Stepwise, key: jax.Array, hyper: Any):
        bench, layout, entry = programs.bench, programs.layout, programs.submission
        assert isinstance(entry, Entry)
        # v0.5 built the model with the hyperparameter of this name; 0.6 hands it over at every call.
        dropout = getattr(hyper, "dropout_rate", None) if layout.pmap else None
        self.programs, self.key = programs, key
        self.session = Session(
            entry.file,
            layout,
            workloads.of(bench.workload, dropout_rate=dropout),
            hyper,
            (programs.draw(bench.data, key, np.int32(number)) for number in itertools.count()),
            step_keys(jnp.asarray(np.asarray(jax.random.key_data(jax.random.fold_in(key, 4))))),
        )
        params, model_state = programs.start(key)
        self._initial = layout.put(params), layout.put(model_state or None)

    def begin(self) -> None:
        """`init_optimizer_state`."""
        assert self._initial is not None
        params, model_state = self._initial
        self._initial = None
        self.session.init(params, model_state)

    @property
    def params(self) -> spec.PyTree:
        """Parameters as the workload's programs take them."""
        return self._plain()[0]

    @property
    def model_state(self) -> spec.PyTree:
        """Model state as the workload's programs take it."""
        return self._plain()[1]

    def _plain(self) -> tuple[spec.PyTree, spec.PyTree]:
        params, model_state = self.session.params, self.session.model_state
        return self.programs.plain(params, {} if model_state is None else model_state)

    def block_until_ready(self) -> "Run":
        """Waits for all of its arrays."""
        jax.block_until_ready(self._initial)
        self.session.block_until_ready()
        return self


class Interval:
    """What a chunk says of its losses: a file keeps them to itself, so one is computed, off the clock, when it is asked.

    `len` is the number of steps made; as an array it holds the loss of the last step's batch at the parameters that the
    chunk ended with, without regularisation.
    """

    def __init__(self, run: Run, steps: int):
        self._run, self._steps, self._value = run, steps, None

    def __len__(self) -> int:
        return self._steps

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy
        if self._value is None:
            run, last = self._run, max(self._run.session.step - 1, 0)
            programs = run.programs
            self._value = programs.loss(run.params, run.model_state, programs.bench.data, run.key, np.int32(last))
        return np.full(max(self._steps, 1), self._value, dtype or np.float32)


def chunk(run: Run, hyper: Any, data: Any, key: jax.Array, first: jax.Array) -> tuple[Run, Interval]:
    """One interval of steps from `first` on, fewer where the file ends its training, and preparing an evaluation."""
    del hyper, data, key  # the run has them
    session = run.session
    session.step, session.complete = int(first), False
    made = session.train(run.programs.bench.workload.interval)
    if made:  # else it stands as the last evaluation left it
        session.prepare()
    return run, Interval(run, made)


# --------------------------------------------------------------------------------------------------- compilation


def compile_programs(bench: engine.Bench, entry: Entry, hparams: Mapping[str, Any]) -> Stepwise:
    """Compiles what a file is served by, and rehearses a few steps with it.

    Raises:
      UserError: a file that cannot run, in one line; several processes; a workload that it cannot be given.
    """
    if jax.process_count() > 1:
        raise errors.UserError(f"submission {entry.name}: an AlgoPerf file runs in one process")
    workload, mesh = bench.workload, bench.mesh
    layout = (Pmap if entry.file.pmap else Jit)(list(mesh.devices.flat))
    key, number = training.put_key(mesh, 0), np.int32(0)
    shapes = jax.eval_shape(workload.init, key)

    def batch(data, key, number):
        data_key, _ = jax.random.split(jax.random.fold_in(key, 1))  # as native submissions draw it
        return workload.batch(data, data_key, number)

    def draw(data, key, number):
        return layout.split(workloads.as_batch(meshes.constrain_batch(mesh, batch(data, key, number))))

    def loss(params, model_state, data, key, number, smoothing=0.0):
        reg = spec.Reg(label_smoothing=smoothing)
        return workload.loss(params, model_state, batch(data, key, number), jax.random.fold_in(key, 5), True, reg)[0]

    programs = Stepwise(
        bench=bench,
        submission=entry,
        opt_init=_not_here,
        chunk=chunk,
        eval_params=None,
        batch_stats=None,
        carry_abstract=None,
        compile_s=0.0,
        build_s=0.0,  # all of init_optimizer_state is charged as it runs
        layout=layout,
        plain=jax.jit(layout.plain, out_shardings=meshes.shardings(mesh, shapes)),
        draw=jax.jit(draw, out_shardings=layout.batch).lower(bench.data, key, number).compile(),
        loss=jax.jit(loss),
    )
    _check_smoothing(programs, loss, key)
    began = time.perf_counter()
    _rehearse(programs, programs.hyper(hparams), key)
    return dataclasses.replace(programs, compile_s=time.perf_counter() - began)


def _not_here(*_: Any) -> Any:
    raise AssertionError("a submission file initialises its optimizer in `begin`")


def _check_smoothing(programs: Stepwise, loss: Callable, key: jax.Array) -> None:
    """Refuses a workload whose loss is not linear in the label smoothing, which `workload.of` builds on."""
    bench = programs.bench
    at = jax.jit(jax.vmap(loss, (None, None, None, None, None, 0)))
    values = at(*bench.init(key), bench.data, key, np.int32(0), jnp.array([0.0, 0.5, 1.0]))
    if not workloads.lie_on_a_line(np.asarray(values)):
        raise errors.UserError(
            f"workload {bench.workload.name}: its loss is not linear in label_smoothing (at 0, 0.5 and 1 it is "
            f"{', '.join(map(str, values))}), so AlgoPerf's model_fn and loss_fn cannot be made of it"
        )


def _rehearse(programs: Stepwise, hyper: Any, key: jax.Array) -> None:
    """A few steps on a copy that is thrown away: what cannot run says so before anything is timed."""
    entry, workload = programs.submission, programs.bench.workload
    assert isinstance(entry, Entry)
    what = f"on workload {workload.name}"
    with files.blame(entry.file, f"loading it {what}"), guard.nothing_left_behind(f"loading submission {entry.source}"):
        run = Run(programs, key, hyper)
    asked = run.session.batch_size(workload.name, workload.held_out_of or workload.name)
    if asked not in (None, workload.batch_size):
        logging.warning(
            "submission %s asks for batches of %d on %s; they have %d, as for every entrant",
            *(entry.name, asked, workload.name, workload.batch_size),
        )
    with files.blame(entry.file, f"init_optimizer_state {what}"):
        run.begin()
    for steps in (REHEARSED, 1):
        with files.blame(entry.file, f"update_params {what}"):
            run.session.train(steps)
        with files.blame(entry.file, f"prepare_for_eval {what}"):
            run.session.prepare()
    run.block_until_ready()
    np.asarray(Interval(run, 1))
