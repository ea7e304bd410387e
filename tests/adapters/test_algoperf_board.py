"""Submission files on workloads, under the clock and on a board."""

import dataclasses
import gc
import json
import pathlib
import shutil
import textwrap

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from algoperf_lite import (
    config,
    contract,
    cost,
    dry_run,
    engine,
    errors,
    mesh,
    registry,
    results,
    runner,
    spec,
    storage,
    trial,
)
from algoperf_lite.adapters.algoperf import programs as adapter
from algoperf_lite.adapters.algoperf import spec as ap
from algoperf_lite.adapters.algoperf import workload as workloads
from algoperf_lite.clock import Clock
from tests import tiny_trial
from tests.adapters.toy import FILES
from tests.assets import tiny
from tests.conftest import ASSETS
from tests.workloads.cases import CASES, LITE

JIT = str(FILES / "nadamw_jit" / "submission.py")
PMAP = str(FILES / "reference_algorithms" / "nadamw_pmap" / "submission.py")
AVERAGE, STOPPING = (str(FILES / name / "submission.py") for name in ("self_tuning_average", "stopping"))
NATIVE = {
    "learning_rate": 0.02,
    "b1": 0.9,
    "b2": 0.98,
    "weight_decay": 0.01,
    "warmup_fraction": 0.1,
    "horizon_fraction": 1.0,
}
POINT = {"learning_rate": 0.02, "one_minus_beta1": 0.1, "beta2": 0.98, "weight_decay": 0.01, "warmup_factor": 0.1}
POINT |= {"dropout_rate": 0.0}


def compiled(source, point=None, **variant):
    """Programs of a file on the tiny workload, with its first point unless another is given."""
    entry = registry.load_submission(source)
    point = entry.points("external", 0, 1)[0][0] if point is None else point
    return adapter.compile_programs(tiny_trial.bench(target=tiny_trial.UNREACHABLE, **variant), entry, point)


@pytest.fixture(scope="module")
def native():
    return tiny_trial.programs("nadamw", target=tiny_trial.UNREACHABLE)


@pytest.fixture(scope="module")
def dispatched(native):
    return engine.dispatched(native, native.submission.resolve({}))


@pytest.fixture(scope="module")
def jit():
    return compiled(JIT)


def chunks(programs, hparams, count, seed=3):
    """The carry after some chunks, and what they said of the losses."""
    key, hyper = programs.key(seed), programs.hyper(hparams)
    carry, said = programs.fresh(key, hyper), []
    for k in range(count):
        number = programs.step_number(k * programs.bench.workload.interval)
        carry, losses = programs.chunk(carry, hyper, programs.bench.data, key, number)
        said.append((len(losses), np.asarray(losses)))
    return carry, said


def close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def write(path: pathlib.Path, body: str) -> str:
    head = "import jax\nfrom algoperf import spec\n\n\ndef init_optimizer_state(*_):\n    return [0], None\n\n\n"
    path.write_text(head + textwrap.dedent(body))
    return str(path)


# ------------------------------------------------------------------------------------------------------ the entry


def test_entry_of_a_file(tmp_path):
    entry = registry.load_submission(JIT, name="theirs")
    assert (entry.name, entry.driver, entry.DEFAULTS, len(entry.SPACE)) == ("theirs", "dispatch", None, 3)
    assert entry.sha256 == registry.file_sha256("submissions", JIT)
    assert entry.about()["kind"] == "AlgoPerf submission file, 0.6 convention (jit)"
    assert registry.load_submission(PMAP).about()["kind"] == "AlgoPerf submission file, v0.5 convention (pmap)"
    assert registry.load_submission(AVERAGE).DEFAULTS == {}
    given = tmp_path / "mine.json"
    given.write_text(json.dumps([{"learning_rate": 1.0}]))
    other = registry.load_submission(f"{JIT}:{given}")
    assert other.SPACE == [{"learning_rate": 1.0}]
    assert other.sha256 == registry.file_sha256("submissions", f"{JIT}:{given}") != entry.sha256
    assert config.entrants([f"{JIT}:{given}"]) == {"submission": f"{JIT}:{given}"}
    with pytest.raises(errors.UserError, match="only AlgoPerf's files take"):
        registry.load_submission(f"{registry.names('submissions')['adamw']}:{given}")


def test_points_of_a_list_are_its_first_and_of_ranges_the_same_in_every_study_in_an_order_of_the_seed():
    listed, drawn = registry.load_submission(JIT), registry.load_submission(PMAP)
    assert listed.points("external", 0, 2) == [listed.SPACE] * 2
    studies = drawn.points("external", 7, 3)
    assert [len(s) for s in studies] == [5, 5, 5]
    assert drawn.points("external", 7, 3) == studies != drawn.points("external", 8, 3)
    as_sets = [{json.dumps(p) for p in study} for study in studies]
    assert as_sets[0] == as_sets[1] == as_sets[2]
    assert studies[0] != studies[1]
    assert all(list(p) == list(drawn.SPACE) for p in studies[0])
    with pytest.raises(
        errors.UserError, match=r"has a search space \(.*/tuning_search_space.json\), and the self-tuning ruleset gives no"
    ):
        listed.points("self", 0, 1)
    assert registry.load_submission(AVERAGE).points("self", 0, 2) == [[{}], [{}]]


def test_unknown_or_missing_hyperparameter_is_told():
    entry = registry.load_submission(PMAP)
    with pytest.raises(errors.UserError, match="did you mean 'beta2'"):
        entry.resolve({**POINT, "beta": 1.0})
    with pytest.raises(errors.UserError, match="the point lacks 'learning_rate'"):
        entry.resolve({"beta2": 0.9})
    assert entry.static({"a": 1.0, "b": 1, "c": None, "d": "x"}) == {"b": 1, "c": None, "d": "x"}


# ------------------------------------------------------------------------------------------- loss and workload object


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_model_and_loss_are_the_workloads_loss_and_its_gradient(smoothing):
    workload = tiny.build()
    shown = workloads.of(workload)
    params, state = workload.init(jax.random.key(0))
    batch = workload.batch(workload.load(), jax.random.key(1), 0)
    rng = jax.random.PRNGKey(2)

    def split(params, smoothing, rate):
        given, mode = workloads.as_batch(batch), ap.ForwardPassMode.TRAIN
        logits, after = shown.model_fn(params, given, state, mode, rng, update_batch_norm=True, dropout_rate=rate)
        found = shown.loss_fn(given["targets"], logits, given.get("weights"), smoothing)
        return found["summed"] / found["n_valid_examples"], (after, found["n_valid_examples"])

    def whole(params, smoothing, rate):
        reg = spec.Reg(smoothing, rate)
        return workload.loss(params, state, batch, jax.random.wrap_key_data(rng), True, reg)

    (a, (after, count)), da = jax.jit(jax.value_and_grad(split, has_aux=True))(params, smoothing, 0.2)
    (b, expected), db = jax.jit(jax.value_and_grad(whole, has_aux=True))(params, smoothing, 0.2)
    assert count == tiny.BATCH
    close((a, after, da), (b, expected, db), 1e-6)
    many = jax.vmap(split, (None, 0, None))(params, jnp.array([0.0, smoothing]), 0.2)[0]
    np.testing.assert_allclose(many[1], a, rtol=1e-6)


def test_batch_norm_trains_on_batch_statistics_and_leaves_the_state_where_asked():
    workload = tiny.build()
    shown = workloads.of(workload)
    params, state = workload.init(jax.random.key(0))
    state = {"mean": jnp.full(tiny.DIM, 5.0)}
    given = workloads.as_batch(workload.batch(workload.load(), jax.random.key(1), 0))

    def run(mode, update):
        logits, after = shown.model_fn(params, given, state, mode, jax.random.PRNGKey(0), update_batch_norm=update)
        return float(logits.loss), after

    trained, after = run(ap.ForwardPassMode.TRAIN, True)
    still, kept = run(ap.ForwardPassMode.TRAIN, False)
    evaluated, same = run(ap.ForwardPassMode.EVAL, True)
    assert trained == still
    assert kept is state
    assert not np.array_equal(after["mean"], state["mean"])
    np.testing.assert_array_equal(same["mean"], state["mean"])
    assert abs(evaluated - trained) > 1e-3  # without the statistics of the batch


def test_workload_object_has_what_files_touch():
    shown = workloads.of(tiny.build(running=False))
    assert (shown.name, shown.step_hint, shown.num_train_examples, shown.metrics_logger) == ("tiny", 160, 512, None)
    shapes = jax.tree.map(lambda s: s.shape_tuple, shown.param_shapes)
    assert shapes == {"bias": (tiny.CLASSES,), "kernel": (tiny.DIM, tiny.CLASSES)}
    kinds = jax.tree.map(lambda k: k.name, shown.model_params_types)
    assert kinds == {"bias": "BIAS", "kernel": "WEIGHT"}
    assert hash(shown) == hash(shown)
    assert (shown.target_metric_name, shown.validation_target_value) == ("accuracy", tiny.build().validation_target)
    with pytest.raises(AttributeError, match=r"workload\.max_allowed_runtime_sec is not offered here; docs/"):
        _ = shown.max_allowed_runtime_sec
    assert not hasattr(shown, "init_model_fn")
    with pytest.raises(KeyError, match="has the mean loss of a batch only"):
        workloads.Losses()["per_example"]


@pytest.mark.parametrize("rate", [None, 0, 0.0])
def test_key_may_be_left_out_where_nothing_is_dropped(rate):
    native = tiny.build(running=False)
    shown, (params, state) = workloads.of(native), native.init(jax.random.key(0))
    batch = workloads.as_batch(native.batch(native.load(), jax.random.key(1), 0))
    one = shown.model_fn(params, batch, state, ap.ForwardPassMode.TRAIN, None, False, rate)[0]
    other = shown.model_fn(params, batch, state, ap.ForwardPassMode.TRAIN, jax.random.PRNGKey(3), False, rate)[0]
    assert float(one.loss) == float(other.loss)
    with pytest.raises(ValueError, match="rng is None in training, and dropout needs a key"):
        shown.model_fn(params, batch, state, ap.ForwardPassMode.TRAIN, None, False, 0.1)


BY_DEFAULT = ("tones_lstm", "clicks_dlrm")  # two losses that are no softmax over classes


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.name, marks=pytest.mark.slow if c.name in BY_DEFAULT else pytest.mark.long)
        for c in CASES
        if c not in LITE
    ],
)
def test_losses_of_the_workloads_are_linear_in_the_label_smoothing(case):
    workload = case.build()
    data = {"train": workload.load()["train"]}

    @jax.jit
    def loss(data, smoothing):
        params, state = workload.init(jax.random.key(0))
        batch = workload.batch(data, jax.random.key(1), 0)
        return workload.loss(params, state, batch, jax.random.key(2), True, spec.Reg(smoothing, 0.1))[0]

    values = np.array([loss(data, s) for s in (0.0, 0.5, 1.0)])
    assert workloads.lie_on_a_line(values)
    assert not workloads.lie_on_a_line(values + np.array([0.0, 0.01, 0.0]))


def test_workload_whose_loss_is_not_linear_in_the_smoothing_is_refused(native):
    def bent(params, state, batch, key, train, reg):
        value, state = tiny.loss(params, state, batch, key, train, spec.Reg(reg.label_smoothing**2, reg.dropout_rate))
        return value, state

    bench = tiny_trial.aimed(native, loss=bent).bench
    with pytest.raises(errors.UserError, match="workload tiny: its loss is not linear in label_smoothing"):
        adapter.compile_programs(bench, registry.load_submission(STOPPING), {})


# ----------------------------------------------------------------------------------------------- steps on a workload


def test_files_of_both_conventions_train_as_the_native_submission_does(native, jit):
    """The same algorithm on the same parameters and batches: after three intervals of eight steps."""
    ours, _ = chunks(native, native.submission.resolve(NATIVE), 3)
    for programs, point in ((jit, {**POINT, "label_smoothing": 0.0}), (compiled(PMAP, POINT), POINT)):
        run, said = chunks(programs, point, 3)
        close(run.params, ours.params)
        close(run.model_state, ours.model_state)
        assert [n for n, _ in said] == [8, 8, 8]
        assert said[-1][1].shape == (8,)
        assert said[-1][1][0] == pytest.approx(_last_loss(native, ours, 23), rel=1e-5)
        assert run.session.step == 24


def _last_loss(programs, carry, step):
    key = programs.key(3)
    data_key = jax.random.split(jax.random.fold_in(key, 1))[0]
    batch = tiny.batch(programs.bench.data, data_key, step)
    return float(tiny.loss(carry.params, carry.model_state, batch, key, True, spec.NO_REG)[0])


def test_stateless_model_has_none_for_the_file_and_nothing_for_the_harness():
    programs = compiled(JIT, running=False)
    run, _ = chunks(programs, {**POINT, "label_smoothing": 0.0}, 1)
    assert run.session.model_state is None
    assert run.model_state == {}
    assert programs.bench.metrics(run.params, run.model_state, "validation")["accuracy"] > 0


def test_what_is_evaluated_is_what_prepare_for_eval_made():
    run, _ = chunks(compiled(AVERAGE), {}, 2)
    state = run.session.optimizer_state[0]
    close(run.params, state["average"], 0)
    assert not np.array_equal(state["fast"]["kernel"], run.params["kernel"])


def test_batch_size_of_its_own_is_told_and_not_followed(monkeypatch):
    told = []
    monkeypatch.setattr(adapter.logging, "warning", lambda text, *args: told.append(text % args))
    programs = compiled(STOPPING)
    assert told == ["submission submission asks for batches of 32 on tiny; they have 16, as for every entrant"]
    batch = programs.draw(programs.bench.data, programs.key(0), np.int32(0))
    assert batch["targets"].shape == (16,)
    told.clear()
    compiled(JIT)  # knows imagenet_vit and mnist only
    assert told == []


def test_file_that_cannot_run_on_a_workload_is_refused_before_anything_is_timed(tmp_path):
    source = write(
        tmp_path / "mine.py",
        """
        def update_params(*, optimizer_state, current_param_container, model_state, **_):
            return optimizer_state, jax.tree.map(lambda x: x[None], current_param_container), model_state
        """,
    )
    with pytest.raises(errors.UserError, match=r"mine\.py.*update_params on workload tiny failed: ValueError: parameters"):
        compiled(source, {})


def test_file_that_leaves_a_thread_behind_is_refused(tmp_path):
    source = write(
        tmp_path / "mine.py",
        """
        import threading

        thread = threading.Thread(target=threading.Event().wait, args=(20,), daemon=True)
        thread.start()


        def update_params(*, optimizer_state, current_param_container, model_state, **_):
            return optimizer_state, current_param_container, model_state
        """,
    )
    with pytest.raises(errors.UserError, match="left threads behind"):
        compiled(source, {})


# ------------------------------------------------------------------------------------------------------- trials


@pytest.fixture(scope="module")
def whole(jit, dispatched, tmp_path_factory):
    job = tiny_trial.job(jit, dispatched, hparams={**POINT, "label_smoothing": 0.0})
    return tiny_trial.run(tmp_path_factory.mktemp("whole"), job)


def test_trial_of_a_file_has_the_metrics_of_the_native_one(whole, native, tmp_path):
    outcome, events = whole
    ours, expected = tiny_trial.run(tmp_path, tiny_trial.job(native, hparams=NATIVE))
    assert (outcome.outcome, outcome.last_step, outcome.message) == ("budget_exhausted", 160, "")
    for name in ("step", "examples"):
        assert [getattr(e, name) for e in events] == [getattr(e, name) for e in expected]
    for split in ("validation", "eval_train"):
        found, wanted = ([getattr(e, split)["accuracy"] for e in which] for which in (events, expected))
        np.testing.assert_allclose(found, wanted, atol=1 / 64)  # a row on the border may fall to either side
    assert outcome.test == pytest.approx(ours.test, abs=1 / 100)
    assert events[-1].train_loss < events[0].train_loss


def test_trial_is_charged_for_init_steps_and_preparation_and_not_for_compiling(whole):
    outcome, events = whole
    assert outcome.init_s > 0
    assert outcome.charged_s == events[-1].submission_time_s
    first, rest = events[0].train_time_s - outcome.init_s, np.diff([e.train_time_s for e in events])
    assert all(rest > 0)
    assert outcome.compilations_while_charged > 0
    assert all(e.eval_charge_s == 0 for e in events)
    assert first < 20 * np.median(rest)  # compiling takes some hundred times as long


def test_target_is_hit_at_the_first_evaluation_that_meets_it(whole, jit, dispatched, tmp_path):
    value = whole[1][3].validation["accuracy"]
    expected = next(e.step for e in whole[1] if e.validation["accuracy"] >= value)
    job = tiny_trial.job(
        tiny_trial.aimed(jit, validation_target=value), dispatched, hparams={**POINT, "label_smoothing": 0.0}
    )
    outcome, _ = tiny_trial.run(tmp_path, job)
    assert (outcome.outcome, outcome.step, outcome.last_step) == ("target_reached", expected, expected)


def test_training_that_the_file_ends_between_two_evaluations_is_evaluated_there(dispatched, tmp_path):
    source = write(
        tmp_path / "mine.py",
        """
        def update_params(*, optimizer_state, current_param_container, model_state, global_step, **_):
            if global_step == 20:
                raise spec.TrainingCompleteError
            return optimizer_state, jax.tree.map(lambda x: x + 0.1, current_param_container), model_state
        """,
    )
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(compiled(source, {}), dispatched))
    assert [e.step for e in events] == [8, 16, 20]
    assert (outcome.outcome, outcome.last_step) == ("budget_exhausted", 20)
    assert outcome.message == "the submission ended its training at step 20"
    assert events[-1].test is not None


def test_training_that_the_file_ends_at_an_evaluation_is_over_with_the_next_call(dispatched, tmp_path):
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(compiled(STOPPING), dispatched))
    assert [e.step for e in events] == [*range(8, 72, 8), 64]
    assert (outcome.outcome, outcome.last_step) == ("budget_exhausted", 64)
    assert events[-1].validation == events[-2].validation


def test_file_whose_parameters_are_not_finite_diverges(dispatched, tmp_path):
    source = write(
        tmp_path / "mine.py",
        """
        def update_params(*, optimizer_state, current_param_container, model_state, global_step, **_):
            scale = float("nan") if global_step == 10 else 1.0
            return optimizer_state, jax.tree.map(lambda x: x * scale, current_param_container), model_state
        """,
    )
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(compiled(source, {}), dispatched))
    assert (outcome.outcome, outcome.last_step, events[-1].train_loss) == ("diverged", 16, None)


@pytest.mark.parametrize("what", ["raise ValueError('at ten')", "params = jax.tree.map(lambda x: x[None], params)"])
def test_file_that_fails_on_the_way_has_an_outcome_with_the_reason(what, dispatched, tmp_path):
    source = write(
        tmp_path / "mine.py",
        f"""
        def update_params(*, optimizer_state, current_param_container, model_state, global_step, **_):
            params = current_param_container
            if global_step == 10:
                {what}
            return optimizer_state, params, model_state
        """,
    )
    outcome, events = tiny_trial.run(tmp_path, tiny_trial.job(compiled(source, {}), dispatched))
    assert (outcome.outcome, len(events)) == ("error", 1)
    assert "at ten" in outcome.message or "became float32[1, " in outcome.message
    assert "algoperf" not in __import__("sys").modules


def test_trials_of_a_crowded_process_drop_what_earlier_ones_have_compiled(monkeypatch):
    """JAX keeps programs under pmap by the workload object that they were given, one a trial, until it is told not to."""
    pmap = compiled(PMAP, POINT)

    def trained(crowded):
        monkeypatch.setattr(adapter.environment, "crowded", lambda: crowded)
        losses = [np.asarray(x).tolist() for _, x in chunks(pmap, POINT, 2)[1]]
        gc.collect()
        return losses, len(jax.devices()[0].client.live_executables())

    found = [trained(crowded) for crowded in (False, False, False, True)]
    assert all(losses == found[0][0] for losses, _ in found)
    first, second, third, fourth = (programs for _, programs in found)
    assert first < second < third  # else there is nothing to drop, and the test tells nothing
    assert fourth <= first


def test_file_that_fails_has_its_outcome_in_a_crowded_process_too(tmp_path, dispatched, monkeypatch):
    body = """
    def update_params(*, current_param_container, model_state, hyperparameters, global_step, **_):
        if hyperparameters.rate > 1:
            raise ValueError("too high")
        return (None, None), current_param_container, model_state
    """
    source = write(tmp_path / "submission.py", body)
    (tmp_path / "tuning_search_space.json").write_text('[{"rate": 0.5}, {"rate": 2.0}]')
    file = compiled(source, {"rate": 0.5})
    outcomes = []
    for crowded in (False, True):
        monkeypatch.setattr(adapter.environment, "crowded", lambda crowded=crowded: crowded)
        job = tiny_trial.job(file, dispatched, hparams={"rate": 2.0}, seed=3 + crowded)
        outcomes.append(tiny_trial.run(tmp_path, job)[0])
    assert [outcome.outcome for outcome in outcomes] == ["error", "error"]
    assert all("ValueError: too high" in outcome.message for outcome in outcomes)


def test_interrupted_trial_is_run_again_from_its_start_to_the_same_bits(whole, jit, dispatched, tmp_path):
    job = tiny_trial.job(jit, dispatched, hparams={**POINT, "label_smoothing": 0.0}, checkpoint_every_s=0.0)
    place = tiny_trial.folder(tmp_path, job)
    stop = lambda: bool(place.events()) and place.events()[-1].step == 56  # noqa: E731
    assert trial.run(job, place, Clock(), stop=stop) is None
    assert not place.checkpoints.exists()
    outcome = trial.run(job, place, Clock())
    assert [a.step for a in place.attempts()] == [0, 0]
    assert (outcome.preemptions, outcome.restarts, outcome.outcome) == (1, 1, "budget_exhausted")
    assert outcome.lost_s > 0
    assert [(e.step, e.validation, e.train_loss) for e in place.events()] == [
        (e.step, e.validation, e.train_loss) for e in whole[1]
    ]


def test_cost_is_measured_against_the_reference_in_the_same_form(jit, native, dispatched, monkeypatch):
    """By a fake time: 3 s for a chunk of the file, 2 s for one of the dispatched reference."""
    now = tiny_trial.FakeTime()
    slow = dataclasses.replace(jit, chunk=now.takes(3.0, jit.chunk))
    reference = dataclasses.replace(dispatched, chunk=now.takes(2.0, dispatched.chunk))
    monkeypatch.setattr(cost, "BLOCKS", 3)
    point = {**POINT, "label_smoothing": 0.0}
    found = cost.cost(slow, reference, point, native.submission.resolve({}), 1.0, Clock(now))
    assert found.factor == 1.5
    assert found.step_cap == int(160 / 1.5) // 8 * 8
    assert found.build_s == 0.0


def test_dispatched_reference_trains_as_the_scanned_one(native, dispatched):
    point = native.submission.resolve({})
    scanned, _ = chunks(native, point, 2)
    stepped, _ = chunks(dispatched, point, 2)
    close(stepped.params, scanned.params, 0)


# --------------------------------------------------------------------------------------------------------- boards


def request(submissions, **more):
    benchmark = msgspec.structs.replace(config.load_benchmark(str(ASSETS / "tiny.toml")), ruleset="external")
    return runner.Request(benchmark=benchmark, mesh=mesh.parse("data=1"), submissions=submissions, studies=1, **more)


@pytest.mark.slow
def test_board_with_native_submissions_and_files(tmp_path):
    mine = shutil.copytree(FILES / "nadamw_jit", tmp_path / "mine")
    directory = storage.RunDirectory(tmp_path / "run")
    sources = ["nadamw", f"jit={mine / 'submission.py'}", f"alone={AVERAGE}"]

    def run():
        engine_ = runner.Runner(request(sources), directory, Clock())
        board = engine_.resolve()
        return board, {(s.entrant, s.trial): (s, o) for s, o in engine_.run(board)}

    board, found = run()
    entrants = {e.name: e for e in board.entrants}
    assert {n: (e.driver, e.untuned, len(e.points[0])) for n, e in entrants.items()} == {
        "nadamw": ("scan", False, 5),
        "jit": ("dispatch", False, 3),
        "alone": ("dispatch", True, 1),
    }
    assert {n: s.driver for (n, _), (s, _) in found.items()} == {n: e.driver for n, e in entrants.items()}
    assert len(found) == 9
    assert all(o.outcome in ("target_reached", "budget_exhausted", "time_exhausted") for _, o in found.values())
    assert all(s.hparams == entrants["jit"].points[0][t] for (n, t), (s, _) in found.items() if n == "jit")
    assert board.costs["jit"]["tiny"]["{}"].blocks == cost.BLOCKS
    assert run() == (board, {})
    scored = results.score(tmp_path / "run")
    pairs, marks = scored["pairs"], [f["text"] for f in scored["flags"] if f["kind"] == "dispatch"]
    assert [m.partition(":")[0] for m in marks] == ["jit, alone"]
    assert "compiled" not in {f["kind"] for f in scored["flags"]}
    said = {(p["a"], p["b"]): "different drivers (dispatch against scan)" in p["additions"] for p in pairs}
    assert {frozenset(k): v for k, v in said.items()} == {
        frozenset({"nadamw", "jit"}): True,
        frozenset({"nadamw", "alone"}): True,
        frozenset({"jit", "alone"}): False,
    }
    helper = mine / "rules.py"
    helper.write_text(helper.read_text() + "\n# changed\n")
    with pytest.raises(errors.UserError, match=r"has entrant jit with file hash"):
        run()


def test_file_with_a_search_space_is_refused_on_a_self_tuning_board(tmp_path):
    asked = request([f"jit={JIT}"])
    asked = dataclasses.replace(asked, benchmark=msgspec.structs.replace(asked.benchmark, ruleset="self"))
    with pytest.raises(errors.UserError, match=r"jit .* has a search space.*such as demo-external"):
        runner.Runner(asked, storage.RunDirectory(tmp_path / "run"), Clock()).settle()


def test_dry_run_knows_times_and_no_state_of_a_file(tmp_path):
    found = dry_run.DryRunner(request([f"alone={AVERAGE}"]), storage.RunDirectory(tmp_path / "run"), Clock()).gather()
    (row,) = found.rows
    assert (row.trials, row.program.state_ratio, row.program.flops, row.program.checkpoint_bytes) == (1, None, None, 0)
    assert row.program.parameters == (tiny.DIM + 1) * tiny.CLASSES
    assert row.program.step_s > 0
    from rich.console import Console

    from algoperf_lite.cli import dry_run as shown

    with Console().capture() as said:
        shown.show(found, Console(width=200))
    del said
    json.dumps(msgspec.to_builtins(found))


# -------------------------------------------------------------------------------------------------------- validate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (JIT, "3 points of 7 hyperparameters, from a list"),
        (AVERAGE, "none (tuning_search_space.json): the file tunes itself, hyperparameters are None"),
    ],
    ids=["jit", "average"],
)
def test_validate_passes_for_files_that_run(source, said):
    found = list(contract.validate_submission(source))
    assert [r for r in found if not r.ok] == []
    assert [r.detail for r in found if r.check == "Its search space can be drawn from"] == [said]
    assert len(found) == 7


def test_validate_stops_where_the_file_does_not_run(tmp_path):
    source = write(tmp_path / "mine.py", "def update_params(**_):\n    raise ValueError('no')\n")
    found = list(contract.validate_submission(source))
    assert [r.ok for r in found] == [True, True, True, False]
    assert "mine.py" in found[-1].detail
    assert "ValueError: no" in found[-1].detail
    (tmp_path / "mine.py").write_text("def init_optimizer_state(): ...\ndef update_params(:\n")
    (only,) = contract.validate_submission(source)
    assert "not valid Python" in only.detail
