"""The target procedure of PROTOCOL P12: three blocks of seeds, resumable, every run and every try on record.

T tunes (quasi-random points for each optimizer, one seed), V measures the best settings on ten seeds and fixes the
target, C confirms it on ten other seeds. Where C does not confirm, the target is chosen again from the winning setting
on new seeds of V and C. A held-out variant is not tuned: its target comes from the base's best settings on ten seeds.
Metrics do not depend on the clock, so none runs here.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from algoperf_lite import __version__, errors, records, registry, search, spec

OPTIMIZERS = ("adamw", "nadamw", "nesterov")
HORIZON = 0.75  # of the step budget: T and V stop there, C runs to the budget
INNER = 0.8  # T searches the inner 80 % of every range of SPACE, so that P13 holds by construction
SETTINGS_TO_V = 3
REACH_IN_V, HITS_IN_C = 0.8, 0.9
MEDIAN_HIT = (0.4, 0.9)
DEFAULTS_NOT_BEFORE = 0.2
MAX_TRIES = 12
SAY_EVERY_S = 10.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """Size of the procedure; anything less than the standard one makes the target provisional."""

    points: int = 24
    seeds: int = 10
    optimizers: tuple[str, ...] = OPTIMIZERS

    @property
    def whole(self) -> bool:
        """Whether it is the procedure that P12 asks for."""
        return self == Plan()


Say = Callable[[str], None]


class Procedure:
    """Runs the procedure for one workload; finished runs lie in `out/runs.jsonl` and are not repeated.

    `base`: the record of the base workload where this one is a held-out variant.
    """

    def __init__(
        self,
        workload: spec.Workload,
        out: pathlib.Path,
        plan: Plan,
        say: Say = print,
        base: Mapping[str, Any] | None = None,
    ):
        assert (base is None) == (workload.held_out_of is None), "a variant's target rests on its base's record"
        self.workload, self.out, self.plan, self.say, self.base = workload, out, plan, say, base
        self.log = out / "runs.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.done = {_key(r): r for r in _parse(lines)}
        names = plan.optimizers if base is None else {m["optimizer"] for m in base["V"]}
        self.submissions = {name: registry.load_submission(name) for name in names}
        self._bench, self._programs = None, {}

    def one_run(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """A provisional record for a workload whose procedure has to wait for a larger machine: one run of `nadamw`.

        The run stops where block V does, and the best value that it reached is the target. Nothing is tuned or confirmed,
        and hit and target come from the same curve.

        Args:
          hparams: those that differ from `nadamw`'s DEFAULTS; the schedule's horizon is P12's.

        Raises:
          UserError: hyperparameters that `nadamw` does not have, or `horizon_fraction`; a run that diverged.
        """
        assert self.base is None
        if "horizon_fraction" in hparams:
            raise errors.UserError(
                f"horizon_fraction is not to be given: the schedule ends where the run does, at {HORIZON}"
            )
        point = self.submissions["nadamw"].resolve({**hparams, "horizon_fraction": HORIZON})
        one = {"optimizer": "nadamw", "point": "given", "hparams": point}
        one |= self._block("V", 0, one, HORIZON, test=True)
        (curve,), (test,) = one["curves"], one["tests"]
        if None in curve:
            raise errors.UserError(f"workload {self.workload.name}: the run diverged; lower its learning rate")
        target = self.target(one["reached"], self.workload.metric_resolution)
        tests = [self._test_at_hit(curve, test, target)]
        numbers = self._numbers(target, tests, [one], one, one, one["curves"])
        del numbers["rank_with_target_moved"]  # one optimizer, and a spread that is not known
        return self._write(
            {
                **self._head("one run, before PROTOCOL P12", provisional=True),
                "confirmed": False,
                **numbers,
                "V": [one],
            }
        )

    def run(self) -> dict[str, Any]:
        """The record: blocks, all tries, the target and the reference. Also written to `out/record.json`."""
        return self._write(self._whole() if self.base is None else self._variant(self.base))

    def _write(self, record: dict[str, Any]) -> dict[str, Any]:
        (self.out / "record.json").write_text(json.dumps(record, indent=1) + "\n")
        return record

    def _whole(self) -> dict[str, Any]:
        tuned = self._tune()
        measured = self._measure([t for name in self.plan.optimizers for t in self._best(tuned, name)])
        winner = self._order(measured)[0]
        tries = []
        for attempt in range(MAX_TRIES if self.plan.whole else 1):
            values = winner["reached"] if attempt == 0 else self._block("V", attempt, winner, HORIZON)["reached"]
            target = self.target(values, self.workload.metric_resolution)
            tries.append({"reached_in_V": values, **self._confirm(attempt, winner, target)})
            if tries[-1]["confirmed"]:
                break
        reference = self._order([m for m in measured if m["optimizer"] == "nadamw"])[0]
        return self._record(tuned, measured, winner, tries, reference)

    def _variant(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """P12 for variants: the base's best settings in V, and its reference if that is not among them, on ten seeds."""
        ordered = self._order(base["V"])
        settings = ordered[:SETTINGS_TO_V]
        if not any(s["optimizer"] == "nadamw" for s in settings):
            settings.append(next(s for s in ordered if s["optimizer"] == "nadamw"))
        measured = self._measure(settings)
        winner = self._order(measured)[0]
        reference = self._order([m for m in measured if m["optimizer"] == "nadamw"])[0]
        target = self.target(winner["reached"], self.workload.metric_resolution)
        tests = [self._test_at_hit(c, t, target) for c, t in zip(winner["curves"], winner["tests"], strict=True)]
        return {
            **self._head("PROTOCOL P12, variant", provisional=base["provisional"] or not self.plan.whole),
            "variant_of": self.workload.held_out_of,
            **self._numbers(target, tests, measured, winner, reference, reference["curves"]),
            "V": [{k: m[k] for k in ("optimizer", "point", "hparams", "finals", "reached")} for m in measured],
        }

    # -- blocks

    def _tune(self) -> list[dict[str, Any]]:
        found = []
        for name in self.plan.optimizers:
            space = self.submissions[name].SPACE
            if not isinstance(space, Mapping):
                raise errors.UserError(f"submission {name} has no SPACE of ranges to tune in")
            space = {n: _inner(d) for n, d in space.items()}
            seed = search.hash_int("target points", self.workload.name, self.workload.version, name)
            for index, point in enumerate(search.quasi_random(space, self.plan.points, seed)):
                hparams = self.submissions[name].resolve({**point, "horizon_fraction": HORIZON})
                row = self._one("T", 0, name, f"point {index}", hparams, 0, HORIZON)
                found.append({"optimizer": name, "point": index, "hparams": hparams, **row})
        return found

    def _best(self, tuned: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
        rows = [t for t in tuned if t["optimizer"] == name]
        return sorted(rows, key=lambda t: self._rank(t["final"]))[:SETTINGS_TO_V]

    def _measure(self, settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**_identity(s), **self._block("V", 0, s, HORIZON)} for s in settings]

    def _block(
        self, block: str, attempt: int, setting: dict[str, Any], until: float, *, test: bool | None = None
    ) -> dict[str, Any]:
        name, point, hparams = setting["optimizer"], f"point {setting['point']}", setting["hparams"]
        rows = [self._one(block, attempt, name, point, hparams, seed, until, test=test) for seed in range(self.plan.seeds)]
        names = {"finals": "final", "reached": "reached", "curves": "curve", "tests": "test"}
        return {several: [row[one] for row in rows] for several, one in names.items()}

    def _confirm(self, attempt: int, winner: dict[str, Any], target: float) -> dict[str, Any]:
        block = self._block("C", attempt, winner, 1.0)
        hits = [self._hit(curve, target) for curve in block["curves"]]
        defaults = {name: self._defaults(name, target) for name in self.plan.optimizers}
        times = [np.inf if h is None else h for h in hits]
        median = float(np.median(times))
        checks = {
            "hits": sum(h is not None for h in hits) >= HITS_IN_C * len(hits),
            "median_hit": MEDIAN_HIT[0] <= median <= MEDIAN_HIT[1],
            "defaults": all(h is None or h >= DEFAULTS_NOT_BEFORE for rows in defaults.values() for h in rows),
        }
        self.say(f"try {attempt}: target {target:.6g}, hits {hits}, checks {checks}")
        return {
            "target": target,
            "hit_share_of_budget": hits,
            "median_hit": median if np.isfinite(median) else None,
            "defaults_hit_share_of_budget": defaults,
            "checks": checks,
            "confirmed": all(checks.values()),
        }

    def _defaults(self, name: str, target: float) -> list[float | None]:
        hparams = self.submissions[name].resolve({})
        rows = [self._one("D", 0, name, "defaults", hparams, seed, 1.0) for seed in range(min(3, self.plan.seeds))]
        return [self._hit(r["curve"], target) for r in rows]

    # -- values

    def _rank(self, value: float | None) -> float:
        if value is None or not np.isfinite(value):
            return np.inf
        return -value if self.workload.direction == "max" else value

    def _order(self, measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """By the median of the final values, best first."""
        return sorted(measured, key=lambda m: float(np.median([self._rank(v) for v in m["finals"]])))

    def target(self, values: Sequence[float | None], resolution: float) -> float:
        """The value that 8 of 10 reach; of a discrete metric, half-way to the next value below (P12)."""
        ordered = sorted(values, key=self._rank)
        value = ordered[int(np.ceil(REACH_IN_V * len(ordered))) - 1]
        if value is None:
            raise errors.UserError(f"workload {self.workload.name}: under 8 of 10 seeds reach any value; make it easier")
        worse = -1 if self.workload.direction == "max" else 1
        return float(value + worse * resolution / 2)

    def _hit(self, curve: Sequence[float | None], target: float) -> float | None:
        """Share of the step budget at the first hit."""
        for index, value in enumerate(curve, 1):
            if value is not None and self.workload.reaches(value, target):
                return index / self.workload.evaluations
        return None

    # -- runs

    def _one(
        self,
        block: str,
        attempt: int,
        name: str,
        setting: str,
        hparams: dict[str, Any],
        seed: int,
        until: float,
        *,
        test: bool | None = None,
    ) -> dict[str, Any]:
        """One run, looked up where it is done. `test`: as the block says, if None."""
        identity = {"block": block, "try": attempt, "optimizer": name, "setting": setting, "seed": seed}
        identity |= {"hparams": hparams, "version": self.workload.version, "step_budget": self.workload.step_budget}
        if _key(identity) not in self.done:
            number = search.hash_int("target", self.workload.name, self.workload.version, block, attempt, seed)
            # The test target comes from the block that sets or confirms the target for good.
            wanted = block == ("C" if self.base is None else "V") if test is None else test
            curve, tests = self._train(name, hparams, number, until, test=wanted)
            values = [v for v in curve if v is not None]
            best = min(values, key=self._rank) if values else None
            row = {**identity, "final": curve[-1], "reached": best, "curve": curve, "test": tests}
            with open(self.log, "a") as handle:
                handle.write(json.dumps(row) + "\n")
                handle.flush()
                os.fsync(handle.fileno())
            self.done[_key(identity)] = row
            self.say(f"{block}{attempt} {name} {setting} seed {seed}: final {curve[-1]}, reached {best}")
        row = self.done[_key(identity)]
        return {k: row[k] for k in ("final", "reached", "curve", "test")}

    def _train(
        self, name: str, hparams: dict[str, Any], seed: int, until: float, *, test: bool
    ) -> tuple[list[float | None], list[float | None]]:
        """Validation and, if asked for, test metric after every interval; None where not finite."""
        from algoperf_lite import engine, mesh

        if self._bench is None:
            self._bench = engine.compile_bench(self.workload, mesh.make({"data": 1, "fsdp": 1}))
        if name not in self._programs:
            self._programs[name] = engine.compile_programs(self._bench, self.submissions[name], hparams)
        programs, workload = self._programs[name], self.workload
        hyper, key = programs.hyper(hparams), programs.key(seed)
        carry = programs.fresh(key, hyper)
        curve: list[float | None] = []
        tests: list[float | None] = []
        count, said = round(until * workload.evaluations), time.monotonic()
        for index in range(count):
            number = programs.step_number(index * workload.interval)
            carry, losses = programs.chunk(carry, hyper, self._bench.data, key, number)
            if not np.all(np.isfinite(np.asarray(losses))):
                return [*curve, *[None] * (count - len(curve))], tests
            params, state = engine.evaluation_state(programs, carry, key, number)
            curve.append(self._bench.metrics(params, state, "validation")[workload.metric])
            if test:
                tests.append(self._bench.metrics(params, state, "test")[workload.metric])
            if time.monotonic() - said >= SAY_EVERY_S and index + 1 < count:
                value = "not finite" if curve[-1] is None else f"{curve[-1]:.4g}"
                self.say(
                    f"  step {(index + 1) * workload.interval} of {count * workload.interval}: {workload.metric} {value}"
                )
                said = time.monotonic()
        return curve, tests

    # -- record

    def _record(self, tuned, measured, winner, tries, reference) -> dict[str, Any]:
        last = tries[-1]
        confirming = [
            row
            for row in self.done.values()
            if (row["block"], row["try"], row["hparams"]) == ("C", len(tries) - 1, winner["hparams"])
        ]
        tests = [self._test_at_hit(row["curve"], row["test"], last["target"]) for row in confirming]
        # C's seeds had no part in choosing the target; another optimizer's reference has only those of V.
        own = _identity(reference) == _identity(winner)
        curves = [row["curve"] for row in confirming] if own else reference["curves"]
        every = [row["curve"] for row in self.done.values() if row["block"] == "C" and row["hparams"] == winner["hparams"]]
        pooled = sum(self._hit(curve, last["target"]) is not None for curve in every)
        return {
            **self._head("PROTOCOL P12", provisional=not (self.plan.whole and last["confirmed"])),
            "confirmed": last["confirmed"],
            **self._numbers(last["target"], tests, measured, winner, reference, curves),
            "hits_at_this_target_in_C_of_all_tries": [pooled, len(every)],
            "tries": tries,
            "V": [{k: m[k] for k in ("optimizer", "point", "hparams", "finals", "reached")} for m in measured],
            "T": [{k: t[k] for k in ("optimizer", "point", "hparams", "final", "reached")} for t in tuned],
        }

    def _head(self, procedure: str, *, provisional: bool) -> dict[str, Any]:
        return {
            "workload": self.workload.name,
            "version": self.workload.version,
            "procedure": procedure,
            "provisional": provisional,
            "plan": dataclasses.asdict(self.plan),
            "package_version": __version__,
            **_versions(),
        }

    def _numbers(self, target: float, tests, measured, winner, reference, reference_curves) -> dict[str, Any]:
        """Targets, seed noise, and the reference with its times on `reference_curves`."""
        hits = [self._hit(curve, target) for curve in reference_curves]
        sd = float(np.std([v for v in winner["finals"] if v is not None], ddof=1)) if self.plan.seeds > 1 else 0.0
        direction = 1 if self.workload.direction == "max" else -1
        return {
            "validation_target": target,
            "test_target": self.target(tests, self._test_resolution()),
            "seed_sd": sd,
            "set_by": _identity(winner),
            "reference": reference["hparams"],
            "reference_hit_share_of_budget": hits,
            "reference_steps": self._steps(hits),
            "rank_with_target_moved": {
                str(shift): self._ranking(measured, target + shift * direction * sd) for shift in (-1, 0, 1)
            },
        }

    def _test_at_hit(self, curve: Sequence[float | None], test: Sequence[float | None], target: float) -> float | None:
        """Test metric where a run first met the target, else at its end: what a board compares (P10)."""
        hit = self._hit(curve, target)
        index = len(test) if hit is None else round(hit * self.workload.evaluations)
        return test[index - 1] if test else None

    def _test_resolution(self) -> float:
        """Step between attainable values of the test metric: other than validation's where the split is."""
        if not self.workload.metric_resolution:
            return 0.0
        data = self.workload.load()
        sizes = [len(next(iter(data[split].values()))) for split in ("validation", "test")]
        return self.workload.metric_resolution * sizes[0] / sizes[1]

    def _steps(self, hits: Sequence[float | None]) -> float | None:
        """Median steps to the target, None where most seeds miss it."""
        median = float(np.median([np.inf if h is None else h for h in hits]))
        return round(median * self.workload.step_budget, 6) if np.isfinite(median) else None

    def _ranking(self, measured: list[dict[str, Any]], target: float) -> list[str]:
        """Optimizers by the median hit of their best setting in V; misses are last."""
        best: dict[str, float] = {}
        for m in measured:
            hits = [self._hit(c, target) for c in m["curves"]]
            median = float(np.median([np.inf if h is None else h for h in hits]))
            best[m["optimizer"]] = min(median, best.get(m["optimizer"], np.inf))
        return [
            f"{name} {median:.2f}" if np.isfinite(median) else f"{name} missed"
            for name, median in sorted(best.items(), key=lambda item: item[1])
        ]


def _inner(dimension: Any) -> Any:
    """The inner 80 % of a range; choices stay."""
    if not isinstance(dimension, spec.Range):
        return dimension
    edge = (1 - INNER) / 2
    return dataclasses.replace(dimension, lo=dimension.at(edge), hi=dimension.at(1 - edge))


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return {k: row[k] for k in ("optimizer", "point", "hparams")}


def _key(row: dict[str, Any]) -> tuple:
    # A changed SPACE, DEFAULTS or workload is another run.
    changeable = json.dumps([row["hparams"], row.get("version"), row.get("step_budget")], sort_keys=True)
    return (row["block"], row["try"], row["optimizer"], row["setting"], row["seed"], changeable)


def _parse(lines: list[str]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            if number < len(lines):  # a torn last line is done again
                raise errors.UserError(f"runs.jsonl:{number} is damaged; delete that line and run again") from None
    return rows


def _versions() -> dict[str, str]:
    import jax
    import optax

    device = jax.devices()[0].device_kind
    return {"jax": jax.__version__, "optax": optax.__version__, "device": device, "date": records.utc()}
