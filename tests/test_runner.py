"""A board over time: resumed, extended, refused where it would mix two, and what a fault leaves behind."""

import re
import shutil

import msgspec
import pytest

from algoperf_lite import checkpoint, config, engine, errors, mesh, registry, results, runner, search, storage
from algoperf_lite.clock import Clock
from tests.conftest import ASSETS

OOM = """
import jax.numpy as jnp
import optax
DEFAULTS = {"learning_rate": 0.1}
def build(problem, hparams):
    def init(params):
        return jnp.zeros((2**50,), jnp.int8)
    return optax.GradientTransformation(init, lambda u, s, p=None: (u, s))
"""


@pytest.fixture
def run(tmp_path):
    """run(submissions, studies=...) -> outcomes by (entrant, study); a fresh runner each time, one directory."""

    def go(submissions, studies=1, stop=lambda: False, board=None, **request):
        made = runner.Request(
            benchmark=msgspec.structs.replace(config.load_benchmark(str(ASSETS / "tiny.toml")), **board or {}),
            mesh=mesh.parse("data=1"),
            submissions=submissions,
            studies=studies,
            **request,
        )
        directory = storage.RunDirectory(tmp_path / "run")
        runs = runner.Runner(made, directory, Clock(), stop=stop)
        benchmark = runs.resolve()
        return benchmark, {(s.entrant, s.study): o for s, o in runs.run(benchmark)}

    return go


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    shutil.copy(registry.names("submissions")["adamw"], path)
    return path


def test_same_command_again_runs_nothing(run):
    first, outcomes = run(["nadamw"])
    assert list(outcomes) == [("nadamw", 0)]
    second, again = run(["nadamw"])
    assert (second, again) == (first, {})


def test_entrants_and_studies_added_later_are_marked_and_leave_what_was_drawn(run):
    before, _ = run(["nadamw"])
    after, outcomes = run(["nadamw", "adamw"], studies=3)
    assert set(outcomes) == {("nadamw", 1), ("nadamw", 2), ("adamw", 0), ("adamw", 1), ("adamw", 2)}
    assert [e.added is None for e in after.entrants] == [True, False]
    assert after.entrants[0].points[:1] == before.entrants[0].points
    assert after.costs["nadamw"] == before.costs["nadamw"]  # never measured again
    assert [(x.entrants, x.studies) for x in after.extensions] == [(["adamw"], 2)]


def test_points_drawn_before_stay_whatever_the_sampler_draws_now(run, monkeypatch):
    before, _ = run(["nadamw"])
    drawn = runner.search.points
    monkeypatch.setattr(runner.search, "points", lambda *a: [[{**p, "learning_rate": 0.5} for p in s] for s in drawn(*a)])
    after, _ = run(["nadamw"], studies=2)
    rates = [study[0]["learning_rate"] for study in after.entrants[0].points]
    assert rates == [before.entrants[0].points[0][0]["learning_rate"], 0.5]


def test_changed_file_of_an_entrant_that_the_command_does_not_name_is_refused(run, mine):
    run(["nadamw", f"mine={mine}"])
    mine.write_text(mine.read_text() + "\n# changed\n")
    with pytest.raises(errors.UserError, match=r"mine.*file hash.*name of its own"):
        run(["nadamw"], studies=2)


def test_changed_reference_is_refused(run, tmp_path, monkeypatch):
    run(["adamw"])
    changed = tmp_path / "nadamw.py"
    changed.write_text(registry.names("submissions")["nadamw"].read_text() + "\n# changed\n")
    shipped = registry.names
    monkeypatch.setattr(registry, "names", lambda kind: {**shipped(kind), "nadamw": changed})
    with pytest.raises(errors.UserError, match="file hash of the reference"):
        run(["adamw"], studies=2)


@pytest.mark.parametrize("smoke", [False, True], ids=["board", "smoke"])
def test_disk_that_is_full_at_a_checkpoint_leaves_no_outcome(smoke, run, monkeypatch, tmp_path):
    def full(*_, **__):
        raise errors.EnvironmentFault("RESOURCE_EXHAUSTED: No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(errors.EnvironmentFault, match="No space left"):
        run(["nadamw"], checkpoint_every_s=0.0, smoke=smoke)
    assert not list((tmp_path / "run").glob("trials/*/outcome.json"))


def test_entrant_that_runs_out_of_memory_has_that_outcome_and_the_others_go_on(run, tmp_path):
    path = tmp_path / "greedy.py"
    path.write_text(OOM)
    benchmark, outcomes = run([f"greedy={path}", "nadamw"])
    assert outcomes["greedy", 0].outcome == "out_of_memory"
    assert outcomes["nadamw", 0].outcome in ("target_reached", "budget_exhausted", "time_exhausted")
    assert benchmark.costs["greedy"]["tiny"]["{}"].blocks == 0


def test_stop_while_costs_are_measured_ends_before_the_first_trial(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(["nadamw"], stop=lambda: True)
    assert not (tmp_path / "run" / "benchmark.json").exists()


def test_seed_zero_and_seed_one_are_different_boards(run, tmp_path):
    run(["nadamw"], seed=0)
    with pytest.raises(errors.UserError, match="has seed 0, this command asks for 1"):
        run(["nadamw"], seed=1)


def test_entrant_with_fixed_hyperparameters_is_no_twin_of_its_file(run):
    board, outcomes = run(["nadamw", "slow=nadamw:learning_rate=1e-4"])
    first, slow = board.entrants
    assert slow.source == "nadamw:learning_rate=1e-4"
    assert slow.points[0][0] == {**first.points[0][0], "learning_rate": 1e-4}
    assert slow.sha256 != first.sha256
    assert outcomes["slow", 0].best < outcomes["nadamw", 0].best
    assert run(["nadamw", "slow=nadamw:learning_rate=1e-4"])[1] == {}
    with pytest.raises(errors.UserError, match="has entrant slow with file hash"):
        run(["nadamw", "slow=nadamw:learning_rate=2e-4"])


STILL = str(ASSETS / "tiny.py:still")


def drawn_by(seed):
    """The variant of the tiny workload that a board seed draws."""
    return search.held_outs({"test": registry.variants(str(ASSETS / "tiny.py"))}, seed)


def test_held_out_is_drawn_by_the_board_seed_and_scored_as_one(run, tmp_path):
    seed = next(s for s in range(100) if drawn_by(s) == [STILL])
    benchmark, outcomes = run(["nadamw"], board={"held_outs": True}, seed=seed)
    assert {name: info.held_out_of for name, info in benchmark.workloads.items()} == {"tiny": None, "tiny_still": "tiny"}
    assert benchmark.workloads["tiny_still"].validation_target == 0.8
    assert benchmark.workloads["tiny"].validation_target == 0.9
    assert all(o.outcome == "target_reached" for o in outcomes.values())
    board = results.read(tmp_path / "run").board
    assert [board.workloads[i].name for pair in board.held_out for i in pair] == ["tiny_still", "tiny"]
    assert run(["nadamw"], board={"held_outs": True}, seed=seed) == (benchmark, {})


def test_board_without_held_outs_draws_none(run):
    assert list(run(["nadamw"])[0].workloads) == ["tiny"]


def test_variant_without_its_base_is_a_workload_like_any_other(run):
    benchmark, _ = run(["nadamw"], workloads=[STILL])
    assert {name: info.held_out_of for name, info in benchmark.workloads.items()} == {"tiny_still": None}


def test_workload_without_a_target_is_refused_with_the_command_that_sets_it(run):
    with pytest.raises(
        errors.UserError, match=r"tiny.py:fresh has no target yet\n  set it: algoperf-lite targets .*tiny.py:fresh"
    ):
        run(["nadamw"], workloads=[str(ASSETS / "tiny.py:fresh")])


def test_smoke_run_needs_no_target(run):
    benchmark, outcomes = run(["nadamw"], workloads=[str(ASSETS / "tiny.py:fresh")], smoke=True)
    assert benchmark.workloads["tiny_fresh"].validation_target == runner.UNREACHABLE
    assert [o.outcome for o in outcomes.values()] == ["budget_exhausted"]


def test_smoke_run_settles_its_costs_without_a_program(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "compile_programs", lambda *_: pytest.fail("compiled"))
        patch.setattr(runner.Runner, "run", lambda self, benchmark: ())
        benchmark, _ = run(["nadamw", "adamw"], smoke=True)
    costs = {entrant: row["tiny"]["{}"] for entrant, row in benchmark.costs.items()}
    assert {(c.factor, c.step_cap, c.blocks, c.build_s) for c in costs.values()} == {(1.0, 16, 0, 0.0)}
    assert set(costs) == {"nadamw", "adamw"}


def test_smoke_run_takes_a_changed_file_and_runs_its_trials_anew(run, mine, tmp_path):
    """An author mends a file and gives the same command again; what the old file left is gone."""
    before, _ = run(["adamw", f"mine={mine}"], smoke=True)  # first a copy of the other
    mine.write_text(mine.read_text() + "\nDEFAULTS = {**DEFAULTS, 'learning_rate': 0.125}\n")
    after, outcomes = run(["adamw", f"mine={mine}"], smoke=True)
    assert set(outcomes) == {("mine", 0)}
    assert [e.sha256 == f.sha256 for e, f in zip(before.entrants, after.entrants, strict=True)] == [True, False]
    assert after.entrants[1].points[0][0]["learning_rate"] == 0.125
    assert after.extensions == []
    found = results.read(tmp_path / "run")
    assert len(found.board.trials) == len(list((tmp_path / "run" / "trials").iterdir())) == 2
    mine.write_text(mine.read_text() + "\n# changed\n")
    assert set(run(["adamw"], smoke=True)[1]) == {("mine", 0)}  # named by this command or not
    elsewhere = mine.rename(tmp_path / "elsewhere.py")
    moved, outcomes = run([f"mine={elsewhere}"], smoke=True)
    assert (moved.entrants[1].source, outcomes) == (str(elsewhere), {})


def test_smoke_run_goes_on_without_a_file_that_cannot_be_compiled_and_with_it_when_it_is_mended(run, mine):
    good = mine.read_text()
    mine.write_text(good + "\n\ndef build(problem, hparams):\n    return 1 / 0\n")
    _, outcomes = run([f"mine={mine}", "nadamw"], smoke=True)
    assert outcomes["mine", 0].outcome == "error"
    assert re.search(r"mine.py:\d+: ZeroDivisionError", outcomes["mine", 0].message)
    assert outcomes["nadamw", 0].outcome == "budget_exhausted"
    mine.write_text(good)
    assert set(run([f"mine={mine}", "nadamw"], smoke=True)[1]) == {("mine", 0)}


def test_absent_data_are_told_before_anything_is_compiled(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ALGOPERF_LITE_MIRROR", raising=False)
    monkeypatch.setattr(engine, "compile_bench", lambda *_: pytest.fail("compiled"))
    with pytest.raises(errors.EnvironmentFault, match=r"'tinyshakespeare' is not in(.|\n)*data fetch tinyshakespeare"):
        run(["nadamw"], workloads=[str(ASSETS / "tiny.py"), "shakespeare_lm"])
