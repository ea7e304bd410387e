"""The target procedure, and the records that the shipped workloads rest on."""

import dataclasses
import json

import numpy as np
import pytest

from algoperf_lite import engine, errors, registry, spec, targets
from tests.conftest import ASSETS, ROOT
from tests.workloads.cases import MICRO

PLAN = targets.Plan(points=2, seeds=2, optimizers=("nadamw", "nesterov"))


@pytest.fixture
def procedure(tmp_path):
    def make(plan=PLAN, name="tiny.py", base=None, **arguments):
        workload = registry.load_workload(str(ASSETS / name), **arguments)
        return targets.Procedure(workload, tmp_path / workload.name, plan, lambda line: None, base)

    return make


def test_procedure_interrupted_resumes_without_repeating_a_run(procedure, monkeypatch):
    whole = procedure()
    record = whole.run()
    lines = whole.log.read_text().splitlines()
    whole.log.write_text("\n".join([*lines[:3], lines[3][:20]]))  # killed while it wrote its fourth run
    trained = []
    original = targets.Procedure._train
    monkeypatch.setattr(targets.Procedure, "_train", lambda self, *a, **k: trained.append(a) or original(self, *a, **k))
    again = procedure().run()
    assert len(trained) == len(lines) - 3
    assert {k: v for k, v in again.items() if k != "date"} == {k: v for k, v in record.items() if k != "date"}


def test_runs_of_a_workload_that_has_changed_are_not_taken_up(procedure, monkeypatch):
    made = procedure(targets.Plan(0, 1, ("nadamw",)))
    made.one_run({})
    (row,) = made.done.values()
    known = row["curve"], row["test"]
    for field, value in (("version", 7), ("step_budget", row["step_budget"] * 2)):
        made.log.write_text(json.dumps({**row, field: value}) + "\n")
        trained = []
        with monkeypatch.context() as patch:
            patch.setattr(targets.Procedure, "_train", lambda *a, trained=trained, **k: trained.append(a) or known)
            procedure(targets.Plan(0, 1, ("nadamw",))).one_run({})
        assert len(trained) == 1, field


def test_procedure_blocks_use_different_seeds(procedure):
    p = procedure()
    p.run()
    curves = {(k[0], k[4]): tuple(r["curve"][:15]) for k, r in p.done.items() if k[2] == "nadamw" and k[0] in "VC"}
    assert len(set(curves.values())) == len(curves)


def test_record_smaller_than_the_procedure_is_provisional(procedure):
    assert procedure().run()["provisional"]


def test_target_is_the_value_that_8_of_10_reach(procedure):
    p = procedure()
    values = [0.1 * i for i in range(1, 11)]
    assert p.target(values, 0.0) == pytest.approx(0.3)  # to maximise: 0.3 ... 1.0 are eight values
    assert p.target([*values[:-1], None], 0.0) == pytest.approx(0.2)  # a diverged seed counts as the worst


def test_target_of_a_discrete_metric_lies_halfway_to_the_next_worse_value(procedure):
    values = [0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87, 0.88, 0.89]
    assert procedure().target(values, 0.01) == pytest.approx(0.815)


def test_confirmation_fails_where_hits_come_too_early(procedure):
    p = procedure()
    tuned = p._tune()
    winner = p._measure(p._best(tuned, "nadamw")[:1])[0]
    tried = p._confirm(0, winner, 0.01)  # met at the first evaluation
    assert not tried["checks"]["median_hit"]
    assert not tried["checks"]["defaults"]
    assert not tried["confirmed"]


def test_variant_takes_the_settings_of_its_base_and_tunes_nothing(procedure):
    base = procedure(targets.Plan(points=4, seeds=2, optimizers=("nesterov", "nadamw"))).run()
    p = procedure(name="tiny.py:still", base=base)
    record = p.run()
    assert {k[0] for k in p.done} == {"V"}
    best = [(m["optimizer"], m["point"]) for m in p._order(base["V"])]
    used = [(m["optimizer"], m["point"]) for m in record["V"]]
    assert used[: targets.SETTINGS_TO_V] == best[: targets.SETTINGS_TO_V]
    assert any(name == "nadamw" for name, _ in used)
    winner = next(m for m in record["V"] if m["hparams"] == record["set_by"]["hparams"])
    assert record["validation_target"] == p.target(winner["reached"], 0.0)
    assert record["reference"] in [m["hparams"] for m in record["V"] if m["optimizer"] == "nadamw"]
    assert (record["variant_of"], record["provisional"]) == ("tiny", True)


def test_variant_without_the_nadamw_among_the_best_measures_it_all_the_same(procedure):
    rows = [
        {"optimizer": name, "point": i, "hparams": registry.load_submission(name).resolve({}), "finals": [0.9 - i / 10]}
        for i, name in enumerate(("nesterov", "nesterov", "adamw", "adamw", "nadamw"))
    ]
    record = procedure(name="tiny.py:still", base={"V": rows, "provisional": False}).run()
    assert [m["point"] for m in record["V"]] == [0, 1, 2, 4]


def test_one_run_gives_a_provisional_record_of_what_it_reached(procedure, tmp_path):
    made = procedure(targets.Plan(0, 1, ("nadamw",)))
    record = made.one_run({"learning_rate": 0.02})
    (row,) = made.done.values()
    assert len(row["curve"]) == round(targets.HORIZON * made.workload.evaluations) == len(row["test"])
    assert record["validation_target"] == row["reached"] == max(row["curve"])
    assert record["test_target"] == row["test"][row["curve"].index(max(row["curve"]))]
    assert (record["provisional"], record["confirmed"]) == (True, False)
    defaults = made.submissions["nadamw"].DEFAULTS
    assert record["reference"] == {**defaults, "learning_rate": 0.02, "horizon_fraction": targets.HORIZON}
    assert record["reference_steps"] == (row["curve"].index(max(row["curve"])) + 1) * made.workload.interval
    assert spec.read_record(made.out / "record.json") == json.loads(json.dumps(record))
    for wrong, message in (("learning_rat", "'learning_rat'"), ("horizon_fraction", "horizon_fraction is not to be given")):
        with pytest.raises(errors.UserError, match=message):
            made.one_run({wrong: 0.02})


def test_a_long_run_says_how_far_it_is_every_ten_seconds(procedure, monkeypatch):
    made, said = procedure(targets.Plan(0, 1, ("nadamw",))), []
    made.say = said.append
    ticks = iter(range(0, 1000, 4))  # four seconds between two looks at the clock, of which there are two where it speaks
    monkeypatch.setattr(targets.time, "monotonic", lambda: float(next(ticks)))
    made.one_run({})
    (row,) = made.done.values()
    interval, count = made.workload.interval, len(row["curve"])
    *said, last = said
    spoken = range(3, count, 3)
    assert len(spoken) > 1
    assert said == [
        f"  step {i * interval} of {count * interval}: {made.workload.metric} {row['curve'][i - 1]:.4g}" for i in spoken
    ]
    assert f"final {row['final']}" in last


def test_a_run_with_one_loss_that_is_not_finite_has_diverged(procedure, monkeypatch):
    original = engine.compile_programs

    def compile_programs(*args):
        programs = original(*args)

        def chunk(carry, hyper, data, key, first):
            carry, losses = programs.chunk(carry, hyper, data, key, first)
            losses = np.array(losses)
            if int(first):  # from the second interval on, and not at its end
                losses[1] = np.nan
            return carry, losses

        return dataclasses.replace(programs, chunk=chunk)

    monkeypatch.setattr(engine, "compile_programs", compile_programs)
    made = procedure(targets.Plan(0, 1, ("nadamw",)))
    with pytest.raises(errors.UserError, match="the run diverged"):
        made.one_run({})
    (row,) = made.done.values()
    assert row["curve"][0] is not None
    assert row["curve"][1:] == [None] * (len(row["curve"]) - 1)


def test_one_run_that_diverges_at_once_sets_no_target(procedure):
    made = procedure(targets.Plan(0, 1, ("nadamw",)))
    with pytest.raises(errors.UserError, match="the run diverged; lower its learning rate"):
        made.one_run({"learning_rate": 1e38})


RECORDS = sorted((ROOT / "workloads" / "targets").glob("*.json"))
NAMES = {p.stem: json.loads(p.read_text()) for p in RECORDS}
BASES = [p for p in RECORDS if "variant_of" not in NAMES[p.stem]]
VARIANTS = [p for p in RECORDS if "variant_of" in NAMES[p.stem]]
WHOLE = [p for p in BASES if "tries" in NAMES[p.stem]]
ONE_RUN = [p for p in BASES if "tries" not in NAMES[p.stem]]
PLANNED = json.loads(json.dumps(dataclasses.asdict(targets.Plan())))


def _load(stem):
    base = NAMES[stem].get("variant_of")
    return registry.load_workload(f"{base}:{stem.removeprefix(f'{base}_')}" if base else stem)


def test_every_micro_workload_has_a_record():
    assert {case.name for case in MICRO} <= {p.stem for p in BASES}
    assert {p.stem for p in BASES} <= set(registry.names("workloads"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_record_is_that_of_a_workload(path):
    record, workload = NAMES[path.stem], _load(path.stem)
    assert (record["workload"], workload.name) == (path.stem, path.stem)
    for name in ("version", "validation_target", "test_target", "provisional", "seed_sd", "reference_steps"):
        assert getattr(workload, name) == pytest.approx(record[name], rel=1e-6), name
    assert dict(workload.reference) == pytest.approx(record["reference"], rel=1e-6)


@pytest.mark.parametrize("path", ONE_RUN, ids=lambda p: p.stem)
def test_record_of_one_run_is_provisional_and_follows_from_its_curve(path, tmp_path, real_data):
    record, workload = NAMES[path.stem], _load(path.stem)
    procedure = targets.Procedure(workload, tmp_path, targets.Plan(), lambda line: None)
    (row,) = record["V"]
    (curve,) = row["curves"]
    assert (record["provisional"], record["confirmed"]) == (True, False)
    assert len(curve) == round(targets.HORIZON * workload.evaluations)
    best = min(curve, key=procedure._rank)
    assert record["validation_target"] == procedure.target([best], workload.metric_resolution)
    assert record["reference_steps"] == (curve.index(best) + 1) * workload.interval
    test = row["tests"][0][curve.index(best)]
    assert record["test_target"] == procedure.target([test], procedure._test_resolution())


@pytest.mark.parametrize("path", WHOLE, ids=lambda p: p.stem)
def test_record_target_follows_from_its_own_values(path, tmp_path):
    record, workload = NAMES[path.stem], _load(path.stem)
    procedure = targets.Procedure(workload, tmp_path, targets.Plan(), lambda line: None)
    last = record["tries"][-1]
    assert procedure.target(last["reached_in_V"], workload.metric_resolution) == record["validation_target"]
    hits = [h is not None for h in last["hit_share_of_budget"]]
    assert last["checks"]["hits"] == (sum(hits) >= targets.HITS_IN_C * len(hits))
    assert record["confirmed"] == all(last["checks"].values())
    assert record["provisional"] == (not record["confirmed"] or record["plan"] != PLANNED)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda p: p.stem)
def test_record_of_a_variant_rests_on_its_base(path, tmp_path):
    record, workload, base = NAMES[path.stem], _load(path.stem), NAMES[NAMES[path.stem]["variant_of"]]
    procedure = targets.Procedure(workload, tmp_path, targets.Plan(), lambda line: None, base)
    assert record["plan"] == PLANNED
    best = procedure._order(record["V"])[0]
    assert best["hparams"] == record["set_by"]["hparams"]
    assert procedure.target(best["reached"], workload.metric_resolution) == record["validation_target"]
    wanted = [m["hparams"] for m in procedure._order(base["V"])[: targets.SETTINGS_TO_V]]
    assert [m["hparams"] for m in record["V"][: targets.SETTINGS_TO_V]] == wanted


@pytest.mark.parametrize("path", [p for p in BASES if not NAMES[p.stem]["provisional"]], ids=lambda p: p.stem)
def test_best_settings_lie_in_the_inner_80_percent_of_the_shipped_spaces(path):
    record = NAMES[path.stem]
    for name in targets.OPTIMIZERS:
        space = registry.load_submission(name).SPACE
        rows = [r for r in record["T"] if r["optimizer"] == name and r["final"] is not None]
        sign = -1 if _load(path.stem).direction == "max" else 1
        best = min(rows, key=lambda r: sign * r["final"])["hparams"]
        for dimension, how in space.items():
            assert isinstance(how, spec.Range)
            plain = dimension.removeprefix("one_minus_")
            value = 1 - best[plain] if dimension.startswith("one_minus_") else best[plain]
            assert 0.1 <= how.quantile(value) <= 0.9, (name, dimension, value)
