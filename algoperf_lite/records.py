"""What is recorded of a benchmark and its trials: frozen structs, and nothing of where they lie.

How they are written into a run directory, and read back, is in `storage`. Nothing here imports JAX.
"""

import datetime
import hashlib
from typing import Any, Literal

import msgspec

FORMAT = 3  # 1 knew no held-out workloads, 2 one driver for all entrants
Outcomes = Literal["target_reached", "budget_exhausted", "time_exhausted", "diverged", "out_of_memory", "error"]
FAILED = ("error", "out_of_memory")


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen record; a field that the version at hand does not know is an error, never dropped."""


class WorkloadInfo(Struct, frozen=True, kw_only=True):
    """What scoring must know of a workload, without importing it."""

    source: str  # name or path that the registry loads
    sha256: str = ""  # of the workload's file
    version: int
    family: str
    tier: str
    metric: str
    direction: str
    validation_target: float
    test_target: float
    step_budget: int
    evaluations: int
    batch_size: int
    provisional: bool
    seed_sd: float  # of the final metric over seeds (P12); 0 where unknown
    reference: dict[str, float]  # hyperparameters of `nadamw` in the target record
    reference_steps: float  # its frozen median time to the target (P15); 0 where unknown
    reference_source: str  # "target record", or why another setting stands in
    held_out_of: str | None = None  # name of the base workload, where that is on the board

    @property
    def interval(self) -> int:
        """Steps between evaluations."""
        return self.step_budget // self.evaluations


class Entrant(Struct, frozen=True, kw_only=True):
    """A named submission on a board."""

    name: str
    source: str
    sha256: str
    points: list[list[dict[str, Any]]]  # complete hyperparameters by study and trial
    static: list[str] = []  # names of the static ones among them
    untuned: bool = False  # external ruleset without a SPACE: DEFAULTS once per study
    driver: str = "scan"  # "dispatch" for files that make their steps themselves (P6)
    added: str | None = None  # UTC date, for entrants that came after the first trial (P18)


class Cost(Struct, frozen=True, kw_only=True):
    """P2 and P4, for one (entrant, workload, static hyperparameters)."""

    factor: float
    build_s: float  # charged to every trial, seconds
    step_cap: int
    compile_s: float
    blocks: int  # interleaved ABBA blocks behind `factor`; 0 where it is 1 by definition
    reference_step_s: float


class Extension(Struct, frozen=True, kw_only=True):
    """Entrants or studies that were added to a board after its start."""

    date: str
    entrants: list[str]
    studies: int
    sha256_before: str


class Benchmark(Struct, frozen=True, kw_only=True):
    """`benchmark.json`: the resolved benchmark."""

    format: int = FORMAT
    name: str
    source: str = ""  # name or path by which the benchmark file was given
    version: int
    ruleset: Literal["external", "self"]
    reference_sha256: str = ""  # of the reference's file: the unit of charged time
    seed: int
    nonce: str | None = None  # what the seed was drawn with (P11); None where it was given
    studies: int
    points: int  # per study, at most
    budget_factor: float  # of the ruleset: 1 external, 1.5 self-tuning
    mesh: dict[str, int]
    driver: str  # of the reference, and of entrants that name no other
    smoke: bool
    run_past: bool
    paired: bool  # verdicts pair entrants by common seeds (P17), declared in the benchmark file
    workloads: dict[str, WorkloadInfo]
    entrants: list[Entrant]
    costs: dict[str, dict[str, dict[str, Cost]]]  # entrant -> workload -> static hyperparameters as JSON
    extensions: list[Extension] = []
    manifest: dict[str, Any] = {}

    @property
    def development(self) -> bool:
        """Author seeds are 0-999 (P11)."""
        return self.seed < 1000


class TrialSpec(Struct, frozen=True, kw_only=True):
    """`trial.json` without its manifest: the identity of a trial. Its hash is the trial's id."""

    benchmark: str
    benchmark_version: int
    ruleset: str
    workload: str
    workload_version: int
    entrant: str
    submission_sha256: str
    package_version: str
    hparams: dict[str, Any]
    seed: int  # of the trial: initial parameters, data order, dropout; shared by all entrants (P11)
    study: int
    trial: int
    mesh: dict[str, int]
    driver: str
    step_cap: int

    @property
    def id(self) -> str:
        """16 hexadecimal digits: hash of the content, in sorted order."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


class Event(Struct, frozen=True, kw_only=True):
    """One line of `events.jsonl`: one evaluation.

    `submission_time_s` and `reference_steps` include this evaluation's own charge and the build charge, never those of
    earlier evaluations (P2). `reference_steps` uses the reference block before the evaluation; the outcome holds the
    interpolated value (P5).
    """

    step: int
    examples: int
    train_time_s: float  # optimizer init and steps alone
    eval_charge_s: float  # eval_params and batch statistics of this evaluation
    submission_time_s: float
    reference_steps: float
    eval_time_s: float  # uncharged
    train_loss: float | None  # mean of the steps since the last evaluation; null where not finite
    eval_train: dict[str, float | None]
    validation: dict[str, float | None]
    test: dict[str, float | None] | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """`outcome.json`. `time_s`, `reference_steps`, `step` are those of the first hit, null without one."""

    outcome: Outcomes
    step: int | None
    time_s: float | None
    reference_steps: float | None
    last_step: int
    charged_s: float  # to the hit, else to the end
    charged_reference_steps: float
    best: float | None  # best validation metric seen
    test: float | None  # test metric at the hit, else at the end
    test_missed: bool  # a hit that misses the test target by over 2 standard errors (P10)
    reference_blocks: list[tuple[int, float]]  # (step, seconds per reference step)
    drift: float  # max/min of the block medians - 1
    noisy: bool  # drift over 15 %
    build_s: float
    init_s: float
    compilations_while_charged: int
    preemptions: int
    lost_s: float
    restarts: int
    wall_s: float
    load_average: float
    host: str  # fingerprint, not a name
    message: str = ""  # traceback or reason


class Attempt(Struct, frozen=True, kw_only=True):
    """One line of `attempts.jsonl`: a start of the trial, from scratch or from a checkpoint."""

    started: str
    step: int
    lost_s: float  # charged seconds of evaluated steps that will be redone
    host: str
    repeated: bool = False  # started over by P7, since over 10 % of its work had been redone
    events_sha256: str = ""  # of `events.jsonl` as it was found, so that a loss is counted once


def utc() -> str:
    """Now, as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
