"""The contracts: what a workload is, what a submission is given, and how hyperparameters are drawn.

Everything here is a frozen value or a pure function. Workloads and submissions import this module and nothing else of
the engine, so a file that works today keeps working whatever becomes of the trial loop.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any

RESERVED = ("label_smoothing", "dropout_rate")
"""Hyperparameters that belong to the loss, not to the optimizer (PROTOCOL P8): they never reach `build`."""

ROLES = (
    "matrix",
    "input",
    "embedding",
    "readout",
    "conv",
    "depthwise",
    "recurrent",
    "query",
    "key",
    "value",
    "attention_out",
    "norm",
    "bias",
    "position",
    "scalar",
)

HIDDEN_KERNELS = ("matrix", "conv", "recurrent", "query", "key", "value", "attention_out")
"""Roles of the kernels between hidden layers, the matrix-like ones of muP: what methods for matrices treat as such."""


# ---------------------------------------------------------------------------------------------- parameters


@dataclasses.dataclass(frozen=True)
class Role:
    """What a parameter is for. One per parameter, in a tree of the same structure as the parameters.

    Attributes:
      kind: one of `ROLES`. In muP's terms `embedding`, `input` (first dense or convolutional layer), `position`,
        `depthwise` (a convolution of each channel apart), `norm` and `bias` are vector-like, `readout` is the readout, the
        other kernels are matrix-like.
      fan_in: product of the input axes (for a convolution: receptive field x input channels; for an embedding: the
        number of rows).
      fan_out: product of the output axes.
      base_fan_in, base_fan_out: the same two at the workload's base width, so that muP's multipliers are exact
        (Tensor Programs V, arXiv 2203.03466, section 4 and appendix B).
    """

    kind: str
    fan_in: int
    fan_out: int
    base_fan_in: int
    base_fan_out: int

    def __post_init__(self):
        if self.kind not in ROLES:
            raise ValueError(f"unknown parameter role {self.kind!r}; a role is one of {', '.join(ROLES)}")

    @property
    def width_multiplier(self) -> float:
        """muP's width multiplier m: of the fan-in where it grows with width, else of the fan-out."""
        if self.fan_in != self.base_fan_in:
            return self.fan_in / self.base_fan_in
        return self.fan_out / self.base_fan_out

    def input_axes(self, shape: Sequence[int]) -> int:
        """How many leading axes of a hidden kernel are its inputs, so that the rest are the columns of a matrix.

        That is where their product is `fan_in`: 3 for a convolution [height, width, in, out], 1 for queries [in, heads,
        depth]. 0 for all that is no kernel of `HIDDEN_KERNELS`, or has fewer than two axes.
        """
        if self.kind not in HIDDEN_KERNELS or len(shape) < 2:
            return 0
        products = {math.prod(shape[:axes]): axes for axes in range(1, len(shape))}
        return products.get(self.fan_in, len(shape) - 1)


@dataclasses.dataclass(frozen=True)
class Problem:
    """All that a submission's `build` may know of a workload: numbers, shapes and roles, no arrays and no name (P3).

    Attributes:
      step_budget: the workload's constant number of optimizer steps, whatever ruleset or cost factor; schedules are
        laid out on it.
      batch_size: examples per step, over all devices.
      num_train_examples: size of the training set (for `steps per epoch`).
      shapes: pytree of `jax.ShapeDtypeStruct`, one per parameter.
      roles: pytree of `Role` of the same structure.
    """

    step_budget: int
    batch_size: int
    num_train_examples: int
    shapes: PyTree
    roles: PyTree

    @classmethod
    def from_params(
        cls,
        params: PyTree,
        *,
        step_budget: int,
        batch_size: int,
        num_train_examples: int | None = None,
        roles: PyTree | None = None,
    ) -> Self:
        """A problem from any pytree of arrays, so that a submission can be driven outside the harness.

        Args:
          params: pytree of arrays or `jax.ShapeDtypeStruct`.
          step_budget, batch_size: as in the class; positive.
          num_train_examples: default `step_budget * batch_size` (one pass).
          roles: default from the number of axes: 0 `scalar`, 1 `bias`, 2 and more `matrix` with the last axis as output.
        """
        for name, value in (("step_budget", step_budget), ("batch_size", batch_size)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(jnp.shape(p), jnp.result_type(p)), params)
        if roles is None:
            roles = jax.tree.map(_role_from_shape, shapes)
        elif jax.tree.structure(roles) != jax.tree.structure(shapes):
            raise ValueError(
                "roles must have the structure of the parameters:\n"
                f"  roles      {jax.tree.structure(roles)}\n  parameters {jax.tree.structure(shapes)}"
            )
        return cls(step_budget, batch_size, num_train_examples or step_budget * batch_size, shapes, roles)


def _role_from_shape(leaf: jax.ShapeDtypeStruct) -> Role:
    kind = {0: "scalar", 1: "bias"}.get(leaf.ndim, "matrix")
    fan_out = leaf.shape[-1] if leaf.ndim else 1
    fan_in = math.prod(leaf.shape[:-1])
    return Role(kind, fan_in, fan_out, fan_in, fan_out)


# ------------------------------------------------------------------------------------------------ workloads


class Reg(NamedTuple):
    """Traced regularisation of the loss (P8). Evaluation always uses `NO_REG`."""

    label_smoothing: jax.typing.ArrayLike = 0.0
    dropout_rate: jax.typing.ArrayLike = 0.0


NO_REG = Reg()


@dataclasses.dataclass(frozen=True, eq=False)
class Workload:
    """One fixed training problem: numbers and pure functions. A variant is the same value with fields replaced.

    Pure functions (`params`, `model_state`, `batch` are pytrees of arrays; `batch` leaves lead with the batch axis):
      load() -> data: dict with `train` (whatever `batch` needs) and the splits `eval_train`, `validation`, `test`, each
        a dict of NumPy arrays with one common leading axis of examples. An argument of every compiled program.
      init(key) -> (params, model_state)
      batch(data, key, step) -> batch of `batch_size` examples; a function of (key, step) only.
      loss(params, model_state, batch, key, train, reg) -> (scalar, model_state); `train` is a Python bool.
      evaluate(params, model_state, batch) -> dict of sums over the batch; `batch["mask"]` is 1 for real examples and 0
        for padding, and no sum may depend on padded rows.
      finalise(sums) -> dict of metrics as floats, `metric` among them.

    Metrics of a whole split, such as average precision or BLEU, are no ratio of sums: what `evaluate` gives under a name in
    `gathered` has a row per example [B, ...]; the rows of all batches reach `finalise` as one array without the padding.

    Attributes:
      version: raised whenever any number changes; part of every trial's identity.
      metric, direction: what is compared with the targets, `min` or `max`.
      validation_target, test_target: set by PROTOCOL P12, NaN (never reached) where that is still to be done.
      step_budget: optimizer steps; a multiple of `evaluations`.
      eval_batch_size: examples per evaluation batch (splits are padded to a multiple of it).
      batch_stats_batches: K of P9; 0 for models without running statistics.
      reference: hyperparameters of `nadamw` at its best setting of P12's block V: the unit of charged time.
      reference_steps: median steps of that reference to the validation target over ten seeds, the frozen time of
        `score_vs_reference` (P15); 0 where unknown.
      seed_sd: standard deviation over seeds of the final metric in block V; `run_past` and the moved targets use it.
      metric_resolution: step between attainable values of a discrete metric, 0 for a continuous one.
      provisional: the target was set with less than the whole procedure.
      data: names of the data sets it reads (empty: embedded or generated).
      roles: pytree of `Role` of the parameters' structure.
      provenance: where task and model come from.
      gathered: names of what `evaluate` gives as rows, not as sums.
      held_out_of: name of the workload of which this is a held-out variant.
    """

    name: str
    version: int
    family: str
    tier: Literal["micro", "lite"]
    metric: str
    direction: Literal["min", "max"]
    validation_target: float
    test_target: float
    batch_size: int
    step_budget: int
    evaluations: int
    eval_batch_size: int
    num_train_examples: int
    load: Callable[[], dict]
    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    batch: Callable[[PyTree, jax.Array, jax.Array], PyTree]
    loss: Callable[..., tuple[jax.Array, PyTree]]
    evaluate: Callable[[PyTree, PyTree, PyTree], dict[str, jax.Array]]
    finalise: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    roles: PyTree
    provenance: str
    data: tuple[str, ...] = ()
    batch_stats_batches: int = 0
    reference: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reference_steps: float = 0.0
    seed_sd: float = 0.0
    metric_resolution: float = 0.0
    provisional: bool = False
    gathered: tuple[str, ...] = ()
    held_out_of: str | None = None

    def __post_init__(self):
        if self.step_budget % self.evaluations:
            raise ValueError(
                f"workload {self.name}: step_budget {self.step_budget} is not a multiple of evaluations {self.evaluations}"
            )
        if self.direction not in ("min", "max"):
            raise ValueError(f"workload {self.name}: direction must be 'min' or 'max', got {self.direction!r}")

    @property
    def interval(self) -> int:
        """Optimizer steps between evaluations (P10)."""
        return self.step_budget // self.evaluations

    def shapes(self) -> PyTree:
        """Pytree of `jax.ShapeDtypeStruct` of the parameters; nothing is computed."""
        return jax.eval_shape(self.init, jax.random.key(0))[0]

    def problem(self) -> Problem:
        """What a submission sees of this workload."""
        return Problem(self.step_budget, self.batch_size, self.num_train_examples, self.shapes(), self.roles)

    def reaches(self, value: float, target: float) -> bool:
        """Whether a metric's value meets a target; equality counts, NaN and missing values never do."""
        return bool(value >= target if self.direction == "max" else value <= target)


def recorded(file: str, name: str, *, version: int) -> dict[str, Any]:
    """The fields of a `Workload` that the target procedure sets, from `targets/<name>.json` beside a workload's file.

    The record is what `algoperf-lite targets` writes, so that no number is copied by hand. Without one the targets are NaN.

    Raises:
      ValueError: the record is of another version.
    """
    path = pathlib.Path(file).parent / "targets" / f"{name}.json"
    if not path.is_file():
        none = {"reference": {}, "reference_steps": 0.0, "seed_sd": 0.0, "provisional": True}
        return {"version": version, "validation_target": math.nan, "test_target": math.nan, **none}
    found = read_record(path)
    if found["version"] != version:
        raise ValueError(f"{path} is the record of version {found['version']}, the workload has version {version}")
    taken = ("version", "validation_target", "test_target", "reference", "seed_sd", "provisional")
    return {**{field: found[field] for field in taken}, "reference_steps": found["reference_steps"] or 0.0}


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """A record of the target procedure.

    Raises:
      ValueError: the file is none, or lacks a field that a workload or its variants take from it.
    """
    needed = ("version", "validation_target", "test_target", "reference", "reference_steps", "seed_sd", "provisional", "V")
    try:
        record = json.loads(path.read_text("utf-8"))
        missing = [field for field in needed if field not in record]
    except (ValueError, TypeError) as e:
        raise ValueError(f"{path} is no target record ({type(e).__name__}: {e}); delete it, and make it again") from e
    if missing:
        raise ValueError(f"{path} is no target record (it lacks {missing[0]!r}); delete it, and make it again")
    return record


# ------------------------------------------------------------------------------------ hyperparameter space


@dataclasses.dataclass(frozen=True)
class Range:
    """One continuous dimension of a search space, `lo` to `hi`, uniform in the value or in its logarithm."""

    lo: float
    hi: float
    log: bool

    def __repr__(self) -> str:
        return f"{'log_uniform' if self.log else 'uniform'}({self.lo:g}, {self.hi:g})"

    def at(self, u: float) -> float:
        """The value at quantile `u` in [0, 1]."""
        if self.log:
            return float(math.exp(math.log(self.lo) + u * (math.log(self.hi) - math.log(self.lo))))
        return float(self.lo + u * (self.hi - self.lo))

    def quantile(self, value: float) -> float:
        """Inverse of `at`."""
        if self.log:
            return (math.log(value) - math.log(self.lo)) / (math.log(self.hi) - math.log(self.lo))
        return (value - self.lo) / (self.hi - self.lo)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One discrete dimension. `static`: the value changes the program's structure, so each is compiled apart."""

    values: tuple
    static: bool = False

    def __repr__(self) -> str:
        return f"choice({list(self.values)}{', static=True' if self.static else ''})"

    def at(self, u: float):
        """The value at quantile `u` in [0, 1]."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


def log_uniform(lo: float, hi: float) -> Range:
    """A range that is uniform in the logarithm; 0 < lo < hi."""
    if not 0 < lo < hi < math.inf:
        raise ValueError(f"log_uniform needs 0 < lo < hi, got lo={lo}, hi={hi}")
    return Range(float(lo), float(hi), True)


def uniform(lo: float, hi: float) -> Range:
    """A range that is uniform in the value; lo < hi."""
    if not -math.inf < lo < hi < math.inf:
        raise ValueError(f"uniform needs lo < hi, both finite, got lo={lo}, hi={hi}")
    return Range(float(lo), float(hi), False)


def choice(values: Sequence, static: bool = False) -> Choice:
    """One of `values`; `static=True` where the value changes the structure of the program (a flag, a number of terms)."""
    values = tuple(values)
    if not values:
        raise ValueError("choice needs at least one value")
    if not static and not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ValueError(f"choice({list(values)!r}): values that are not numbers need static=True")
    return Choice(values, static)


Space = Mapping[str, Range | Choice]
