"""Programs of one (workload, submission): its step, chunk and evaluation functions, compiled ahead of time.

One compilation serves all trials: numeric hyperparameters, regularisation, keys, the data set and the step number are
arguments. The driver is a `lax.scan` chunk of one evaluation interval; a dispatched single step of the same function is
kept as the bit-equality oracle (P6).
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite import errors, guard, spec
from algoperf_lite import mesh as meshes
from algoperf_lite.shapes import check_shapes
from algoperf_lite.submission import Submission
from algoperf_lite.training import Carry, Hyper, initial, opt_init, put_hyper, put_key, scan_chunk, strong, train_step

SPLITS = ("eval_train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Bench:
    """A workload on a mesh: its data on the devices and its programs that no submission changes."""

    workload: spec.Workload
    problem: spec.Problem
    mesh: jax.sharding.Mesh
    data: spec.PyTree  # training data, on every device
    splits: dict[str, list[spec.PyTree]]  # evaluation batches, each with a `mask`
    sizes: dict[str, int]  # examples of each split, without padding
    init: Callable  # (key) -> (params, model_state)
    evaluate: Callable  # (params, model_state, batch) -> sums
    compile_s: float
    options: dict[str, Any] | None = None  # of the compiler, for these programs and all submissions'

    def metrics(self, params: spec.PyTree, model_state: spec.PyTree, split: str) -> dict[str, float | None]:
        """Metrics of one split, None where not finite; sums are added up in float64 on the host."""
        found = [self.evaluate(params, model_state, batch) for batch in self.splits[split]]
        totals = total(self.workload, found, self.sizes[split])
        metrics = {name: float(value) for name, value in self.workload.finalise(totals).items()}
        return {name: value if np.isfinite(value) else None for name, value in metrics.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Programs:
    """Compiled programs of one (workload, submission, static hyperparameters, mesh); equal only to themselves."""

    bench: Bench
    submission: Submission
    opt_init: Callable  # (params, hyper) -> opt_state
    chunk: Callable  # (carry, hyper, data, key, first step) -> (carry, losses [interval]); the carry is donated
    eval_params: Callable | None  # (opt_state, params) -> params
    batch_stats: Callable | None  # (params, model_state, data, key, step) -> model_state
    carry_abstract: Carry | None  # shapes and shardings; None where a trial is run again from its start
    compile_s: float
    build_s: float  # median wall time of build + eval_shape(init)

    def hyper(self, hparams: Mapping[str, Any]) -> Hyper:
        """A trial's complete hyperparameters as device scalars; static ones are left out, they are compiled in."""
        return put_hyper(self.bench.mesh, self.submission, hparams)

    def key(self, seed: int) -> jax.Array:
        """The trial's key: initial parameters, data order and dropout follow from it alone."""
        return put_key(self.bench.mesh, seed)

    def step_number(self, step: int) -> jax.Array:
        """A step number as a device scalar."""
        return meshes.put_replicated(self.bench.mesh, np.int32(step))

    def start(self, key: jax.Array) -> tuple[spec.PyTree, spec.PyTree]:
        """Initial parameters and model state; uncharged."""
        return jax.block_until_ready(self.bench.init(key))

    @property
    def resumable(self) -> bool:
        """Whether a carry can be saved and taken up again."""
        return self.carry_abstract is not None

    def set_up(self, key: jax.Array, hyper: Hyper) -> Carry:
        """A trial's carry before the optimizer's init; uncharged."""
        del hyper
        return Carry(*self.start(key), None)

    def begin(self, carry: Carry, hyper: Hyper) -> Carry:
        """A carry at step 0, of `set_up`'s; charged."""
        return carry._replace(opt_state=self.opt_init(carry.params, hyper))

    def fresh(self, key: jax.Array, hyper: Hyper) -> Carry:
        """A carry at step 0, for work that no clock charges."""
        return jax.block_until_ready(self.begin(self.set_up(key, hyper), hyper))


# ------------------------------------------------------------------------------------------------ compilation


def compile_bench(workload: spec.Workload, mesh: jax.sharding.Mesh, options: dict[str, Any] | None = None) -> Bench:
    """Loads the data, puts it on the mesh and compiles what every submission shares. All of it uncharged.

    Args:
      options: of the compiler, such as `environment.hasty_options` where nothing is timed.
    """
    meshes.check_batch(mesh, workload.name, workload.batch_size)
    host = workload.load()
    data = meshes.put_replicated(mesh, {k: v for k, v in host.items() if k not in SPLITS})
    splits = {name: evaluation_batches(host[name], workload.eval_batch_size, mesh) for name in SPLITS}
    start = time.perf_counter()
    key = put_key(mesh, 0)
    shapes = jax.eval_shape(workload.init, key)
    shardings = meshes.shardings(mesh, shapes)
    init = jax.jit(initial(workload), out_shardings=shardings).lower(key).compile(options)
    params, model_state = abstract(shapes, shardings)
    evaluate = jax.jit(workload.evaluate, out_shardings=meshes.replicated(mesh))
    evaluate = evaluate.lower(params, model_state, splits["validation"][0]).compile(options)
    bench = Bench(
        workload=workload,
        problem=workload.problem(),
        mesh=mesh,
        data=data,
        splits=splits,
        sizes={name: len(next(iter(host[name].values()))) for name in SPLITS},
        init=init,
        evaluate=evaluate,
        compile_s=time.perf_counter() - start,
        options=options,
    )
    params, model_state = init(key)
    for split in SPLITS:  # warm-up (P1)
        bench.metrics(params, model_state, split)
    return bench


def evaluation_batches(split: Mapping[str, np.ndarray], size: int, mesh: jax.sharding.Mesh) -> list[spec.PyTree]:
    """A split cut into whole batches; the last is padded with its first rows, mask 0."""
    count = len(next(iter(split.values())))
    batches = []
    for first in range(0, count, size):
        rows = np.arange(first, first + size)
        mask = (rows < count).astype(np.float32)
        batch = {name: np.asarray(array)[np.where(rows < count, rows, first)] for name, array in split.items()}
        batches.append(meshes.put_batch(mesh, {**batch, "mask": mask}))
    return batches


def total(workload: spec.Workload, found: Sequence[Mapping[str, Any]], size: int) -> dict[str, np.ndarray]:
    """What `evaluate` gave for each batch of a split as one dict: sums added up in float64, gathered rows joined.

    `size`: examples of the split; the rows beyond are padding.
    """

    def join(name: str) -> np.ndarray:
        parts = [np.asarray(sums[name]) for sums in found]
        if name in workload.gathered:
            return np.concatenate(parts)[:size]
        return np.sum([part.astype(np.float64) for part in parts], axis=0)

    return {name: join(name) for name in found[0]}


def compile_programs(bench: Bench, submission: Submission, hparams: Mapping[str, Any]) -> Programs:
    """Compiles a submission for a workload and runs every program once on a throw-away copy (P1), unless compiled with
    options, for which nothing is timed.

    Args:
      hparams: a complete point; its static part is compiled in, of the rest only the names matter.

    Raises:
      UserError: build or init fails, a state that changes its shapes, anything that P3 refuses.
    """
    workload, mesh, problem = bench.workload, bench.mesh, bench.problem
    what = f"submission {submission.name} ({submission.source}) on workload {workload.name}"
    static = submission.static(hparams)
    started = time.perf_counter()
    with guard.nothing_left_behind(f"{what}: tracing"):
        build_s = _time_build(submission, problem, hparams, what)
        shell = Programs(bench, submission, *[None] * 4, None, 0.0, build_s)  # type: ignore[arg-type]
        hyper, key = shell.hyper(hparams), shell.key(0)
        params, model_state = abstract((s := jax.eval_shape(workload.init, key)), meshes.shardings(mesh, s))
        begin = opt_init(submission, problem, static)
        with blame(submission, f"{what}: build or init"):
            opt_shapes = jax.eval_shape(begin, params, hyper)
        opt_shardings = meshes.shardings(mesh, opt_shapes)
        carry = Carry(params, model_state, abstract(opt_shapes, opt_shardings))
        shardings = jax.tree.map(lambda x: x.sharding, carry)
        # Traced once for the check of its shapes and for the scan; `inline` leaves no call in the program.
        step = jax.jit(train_step(workload, submission, problem, static, mesh), inline=True)
        first = shell.step_number(0)
        with blame(submission, f"{what}: update"):
            _check_carry(what, carry, jax.eval_shape(step, carry, hyper, bench.data, key, first)[0])
        replicated = meshes.replicated(mesh)

        def compiled(name, function, *args, out, donate=()):
            with blame(submission, f"{what}: {name}"):
                traced = jax.jit(function, out_shardings=out, donate_argnums=donate).trace(*args)
                guard.check_program(traced.jaxpr, f"{what}: {name}")
                lowered = traced.lower()
            return lowered.compile(bench.options)

        init_program = compiled("init", begin, params, hyper, out=opt_shardings)
        chunk = compiled(
            "update",
            scan_chunk(step, workload.interval),
            *(carry, hyper, bench.data, key, first),
            out=(shardings, replicated),
            donate=(0,),
        )
        eval_params = batch_stats = None
        if submission.eval_params is not None:
            author_eval_params = submission.eval_params
            with blame(submission, f"{what}: eval_params"):
                shapes = jax.eval_shape(author_eval_params, carry.opt_state, params)
            check_shapes(f"{what}: eval_params", params, shapes)
            eval_params = compiled(
                "eval_params", lambda s, p: strong(author_eval_params(s, p)), carry.opt_state, params, out=shardings.params
            )
            if workload.batch_stats_batches:
                batch_stats = compiled(
                    "batch statistics",
                    functools.partial(_batch_stats, workload, mesh),
                    *(params, model_state, bench.data, key, first),
                    out=shardings.model_state,
                )
    programs = Programs(
        bench=bench,
        submission=submission,
        opt_init=init_program,
        chunk=chunk,
        eval_params=eval_params,
        batch_stats=batch_stats,
        carry_abstract=carry,
        compile_s=time.perf_counter() - started,
        build_s=build_s,
    )
    if bench.options is None:
        _warm_up(programs, hyper, key)
    return programs


class Repeated:
    """A submission's chunks on a carry of its own: what times the reference and the cost factors.

    They go on from step 0, and from there again where the budget ends, so that what is done every so many steps is met.

    Args:
      charge: `Clock.charge`, or another function (program, *args) -> (result, seconds).
    """

    def __init__(self, programs: Programs, hparams: Mapping[str, Any], charge: Callable[..., tuple[Any, float]]):
        self._programs, self._charge = programs, charge
        self._hyper, self._key, self._step = programs.hyper(hparams), programs.key(0), 0
        self._carry = programs.fresh(self._key, self._hyper)

    def seconds(self) -> float:
        """Seconds of one chunk."""
        programs, workload = self._programs, self._programs.bench.workload
        number = programs.step_number(self._step)
        (self._carry, _), seconds = self._charge(
            programs.chunk, self._carry, self._hyper, programs.bench.data, self._key, number
        )
        self._step = (self._step + workload.interval) % workload.step_budget
        return seconds


def _warm_up(programs: Programs, hyper: Hyper, key: jax.Array) -> None:
    carry, losses = programs.chunk(programs.fresh(key, hyper), hyper, programs.bench.data, key, programs.step_number(0))
    jax.block_until_ready((evaluation_state(programs, carry, key, programs.step_number(0)), losses))


def evaluation_state(programs: Programs, carry: Carry, key: jax.Array, step: jax.Array) -> tuple[spec.PyTree, spec.PyTree]:
    """(parameters, model state) at which a submission is evaluated; nothing of it flows back into training (P9)."""
    params, model_state = carry.params, carry.model_state
    if programs.eval_params is not None:
        params = programs.eval_params(carry.opt_state, carry.params)
        if programs.batch_stats is not None:
            model_state = programs.batch_stats(params, model_state, programs.bench.data, key, step)
    return params, model_state


def _batch_stats(workload, mesh, params, model_state, data, key, step):
    """Running statistics recomputed on K training batches at the evaluation parameters (P9)."""
    key = jax.random.fold_in(jax.random.fold_in(key, 2), step)

    def body(state, i):
        batch = meshes.constrain_batch(mesh, workload.batch(data, key, i))
        return strong(workload.loss(params, state, batch, key, True, spec.NO_REG)[1]), None

    return jax.lax.scan(body, model_state, jnp.arange(workload.batch_stats_batches, dtype=jnp.int32))[0]


def _time_build(submission: Submission, problem: spec.Problem, hparams: Mapping[str, Any], what: str) -> float:
    """Median wall seconds of three runs of build + eval_shape(init): P2 charges it, since it runs while tracing."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with blame(submission, f"{what}: build"):
            jax.eval_shape(submission.build(problem, hparams).init, problem.shapes)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


class blame:
    """Turns an exception of the submission's own code into one message with its file and line."""

    def __init__(self, submission: Submission, what: str):
        self.submission, self.what = submission, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, (Exception, SystemExit)) or isinstance(error, errors.UserError):
            return False
        path = self.submission.author_build.__code__.co_filename
        hint = ""
        if isinstance(error, (jax.errors.ConcretizationTypeError, jax.errors.TracerBoolConversionError)):
            hint = (
                "\n  hyperparameters are traced: use jnp.where instead of `if`, "
                "or declare the name static with spec.choice(values, static=True); "
                "schedules that take traced numbers, which optax's do not, are in algoperf_lite.schedules"
            )
        if isinstance(error, KeyError):
            hint = f"\n  hyperparameters without a value in DEFAULTS must come from SPACE; asked for: {error}"
        message = str(error).strip().splitlines()
        raise errors.UserError(
            f"{self.what} failed at {errors.where_in(path, error)}: {type(error).__name__}: "
            f"{message[0] if message else ''}{hint}"
        ) from error


def _check_carry(what: str, before: Carry, after: Carry) -> None:
    check_shapes(f"{what}: parameters after an update", before.params, after.params)
    check_shapes(f"{what}: optimizer state after an update", before.opt_state, after.opt_state)
    check_shapes(f"{what}: model state after a step", before.model_state, after.model_state)


def abstract(shapes: spec.PyTree, shardings: spec.PyTree) -> spec.PyTree:
    """Shapes with shardings, strong types: what programs are lowered with."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def dispatched(programs: Programs, hparams: Mapping[str, Any]) -> Programs:
    """The same programs with the dispatch loop in place of the scan: the reference of what cannot be scanned (P6)."""
    step = dispatch_step(programs, hparams)

    def chunk(carry, hyper, data, key, first):
        losses = []
        for number in range(int(first), int(first) + programs.bench.workload.interval):
            carry, loss = step(carry, hyper, data, key, programs.step_number(number))
            losses.append(loss)
        return carry, losses

    return dataclasses.replace(programs, chunk=chunk)


def dispatch_step(programs: Programs, hparams: Mapping[str, Any]) -> Callable:
    """The same step as a program of its own, for a dispatch loop: the oracle of the scan driver, and for adapters."""
    bench, submission = programs.bench, programs.submission
    step = train_step(bench.workload, submission, bench.problem, submission.static(hparams), bench.mesh)
    arguments = (programs.carry_abstract, programs.hyper(hparams), bench.data, programs.key(0), programs.step_number(0))
    return lower_step(step, arguments, bench.mesh, donate=(0,)).compile(bench.options)


def lower_step(
    step: Callable, arguments: tuple, mesh: jax.sharding.Mesh, donate: tuple[int, ...] = ()
) -> jax.stages.Lowered:
    """`train_step`'s function for its arguments, arrays or shapes: the carry comes first and stays where it lies."""
    out = (jax.tree.map(lambda x: x.sharding, arguments[0]), meshes.replicated(mesh))
    return jax.jit(step, out_shardings=out, donate_argnums=donate).lower(*arguments)
