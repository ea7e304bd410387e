"""A dry run: what it says is true of the run that follows, and it leaves no trace."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import msgspec
import pytest
from rich.console import Console

from algoperf_lite import config, dry_run, engine, errors, flops, mesh, registry, runner, storage, trial
from algoperf_lite.cli import dry_run as shown
from algoperf_lite.clock import Clock
from algoperf_lite.models import conv
from tests.conftest import ASSETS
from tests.test_runner import OOM

STEP_FLOPS = 2 * (2 * 16 * 8 * 4)  # of tiny: x @ kernel, and the gradient of the kernel; x needs none
PARAMETERS = 8 * 4 + 4


def request(**more):
    file = config.load_benchmark(str(ASSETS / "tiny.toml"))
    return runner.Request(benchmark=file, mesh=mesh.parse("data=1"), **more)


@pytest.fixture
def directory(tmp_path):
    return storage.RunDirectory(tmp_path / "run")


@pytest.fixture
def dry(directory):
    """dry(**request) -> DryRun in one directory."""
    return lambda **more: dry_run.DryRunner(request(**more), directory, Clock()).gather()


def with_fields(monkeypatch, **fields):
    """From here on, the tiny workload has these fields."""
    workload = dataclasses.replace(registry.load_workload(str(ASSETS / "tiny.py")), **fields)
    monkeypatch.setattr(registry, "load_workload", lambda *_, **__: workload)


def count(f, *args):
    return flops.count_flops(jax.make_jaxpr(f)(*args))


# ------------------------------------------------------------------------------------------------------------- FLOPs


def test_flops_of_a_dense_net_and_of_its_gradient():
    x, a, b = jnp.ones((5, 7)), jnp.ones((7, 11)), jnp.ones((11, 3))

    def loss(params, x):
        return jnp.sum(jnp.tanh(x @ params[0]) @ params[1])

    first, second = 2 * 5 * 7 * 11, 2 * 5 * 11 * 3
    assert count(loss, (a, b), x) == (first + second, False)
    # Each product has two gradients, but nobody asks for that of x.
    assert count(jax.value_and_grad(loss), (a, b), x) == (2 * first + 3 * second, False)
    # The value is not needed for its own gradient, and the compiler drops it.
    assert count(jax.jit(jax.grad(loss)), (a, b), x) == (2 * first + 2 * second, False)


def test_batched_product_counts_every_batch():
    assert (
        count(lambda a, b: jnp.einsum("bik,bjk->bij", a, b), jnp.ones((4, 2, 3)), jnp.ones((4, 5, 3)))[0]
        == 2 * 4 * 2 * 5 * 3
    )


def test_scan_counts_by_its_length_and_its_gradient_too():
    w, h = jnp.ones((6, 6)), jnp.ones((2, 6))

    def roll(w, h):
        return jnp.sum(jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), h, length=13)[0])

    one = 2 * 2 * 6 * 6
    assert count(roll, w, h) == (13 * one, False)
    assert count(jax.value_and_grad(roll), w, h) == (3 * 13 * one, False)
    # Why XLA's count is not used: it takes the body once.
    assert jax.jit(roll).lower(w, h).compile().cost_analysis()["flops"] < 13 * one / 2
    assert count(lambda w, h: jax.lax.map(lambda r: roll(w, r[None]), h), w, h) == (13 * one, False)


def test_loop_of_unknown_length_is_counted_once_and_said_so():
    def until(w, h):
        return jax.lax.while_loop(lambda h: jnp.sum(h) < 1.0, lambda h: h @ w, h)

    assert count(until, jnp.ones((6, 6)), jnp.ones((2, 6))) == (2 * 2 * 6 * 6, True)
    assert count(lambda n: jax.lax.while_loop(lambda i: i < n, lambda i: i + 1, 0), 3) == (0, False)


def test_condition_counts_its_largest_branch():
    def either(p, w):
        return jax.lax.cond(p, lambda: w @ w @ w, lambda: w @ w)

    assert count(either, True, jnp.ones((4, 4)))[0] == 2 * 2 * 4**3


def valid_pairs(size, kernel, stride):
    """Pairs (output, kernel position) on one axis with SAME padding that meet the input, by brute force."""
    out = -(-size // stride)
    low = max((out - 1) * stride + kernel - size, 0) // 2
    return sum(0 <= o * stride + k - low < size for o in range(out) for k in range(kernel))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("form", [conv.conv2d, conv.canonical_conv2d])
def test_flops_of_convolutions_and_of_their_gradients(form, size, stride):
    x, w, v = jnp.ones((2, size, size, 3)), jnp.ones((3, 3, 3, 5)), jnp.ones((3, 3, 5, 4))

    def one(x, w, stride):
        pads = tuple(jax.lax.padtype_to_pads(x.shape[1:3], w.shape[:2], (stride, stride), "SAME"))
        return form(x, w, stride, pads if form is conv.canonical_conv2d else "SAME")

    def loss(w, v, x):
        return jnp.sum(one(jnp.tanh(one(x, w, stride)), v, 1))

    first = 2 * valid_pairs(size, 3, stride) ** 2 * 2 * 3 * 5
    second = 2 * valid_pairs(-(-size // stride), 3, 1) ** 2 * 2 * 5 * 4
    assert count(loss, w, v, x)[0] == first + second
    compiled = jax.jit(lambda x, w: one(x, w, stride)).lower(x, w).compile()
    assert compiled.cost_analysis()["flops"] == first
    # The custom gradient computes that of x, which nobody asks for: the compiler drops it, and so does the count.
    assert count(jax.value_and_grad(loss, argnums=(0, 1)), w, v, x)[0] == 2 * first + 3 * second


def test_grouped_convolution_counts_its_own_channels():
    x, w = jnp.ones((1, 6, 6, 4)), jnp.ones((1, 1, 1, 8))

    def depthwise(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4
        )

    assert count(depthwise, x, w)[0] == 2 * 36 * 8


@pytest.mark.parametrize("source", ["nadamw", "schedule_free_adamw"])
def test_flops_per_step_is_the_same_from_a_workload_and_from_a_bench(source):
    workload = registry.load_workload(str(ASSETS / "tiny.py"))
    submission = registry.load_submission(source)
    bench = engine.compile_bench(workload, mesh.make({"data": 2, "fsdp": 2}))
    point = submission.resolve({})
    assert flops.flops_per_step(workload, submission, point) == STEP_FLOPS
    assert flops.flops_per_step(bench, submission, point) == STEP_FLOPS


# ------------------------------------------------------------------------------------------------------ what is told


def test_numbers_of_the_tiny_board_by_hand(dry):
    found = dry()
    assert [(r.workload, r.entrant, r.trials, r.step_cap) for r in found.rows] == [
        ("tiny", "nadamw", 2, 240),
        ("tiny", "aa", 2, 240),  # 160 steps times 1.5, self-tuning
    ]
    program = found.rows[0].program
    assert (program.parameters, program.flops, program.flops_at_least) == (PARAMETERS, STEP_FLOPS, False)
    assert program.state_ratio == pytest.approx(2 + 12 / (4 * PARAMETERS), abs=8 / (4 * PARAMETERS))  # and counters
    # At the least the training set, the parameters and the two moments.
    assert program.memory_bytes > 512 * (8 + 1) * 4 + 3 * 4 * PARAMETERS
    assert program.relative_cost == 1.0
    assert found.rows[0].evaluations == 30
    assert found.rows[0].likely_trial_s is None  # tiny has no frozen time
    assert found.likely_s is None
    assert found.trials == 4


def test_dry_run_leaves_no_trace(dry, directory, tmp_path):
    dry()
    assert list(tmp_path.iterdir()) == []
    assert not directory.exists()


def test_smoke_counts_two_evaluations_and_measures_no_cost(dry):
    found = dry(smoke=True)
    assert [(r.trials, r.step_cap, r.evaluations, r.cost_s) for r in found.rows] == [(1, 16, 2, 0.0)] * 2


def test_external_ruleset_counts_five_trials_per_study_and_one_cap(dry):
    file = msgspec.structs.replace(config.load_benchmark(str(ASSETS / "tiny.toml")), ruleset="external")
    made = runner.Request(benchmark=file, mesh=mesh.parse("data=1"), submissions=["nadamw"], studies=3)
    found = dry_run.DryRunner(made, storage.RunDirectory("none"), Clock()).gather()
    assert [(r.trials, r.step_cap) for r in found.rows] == [(15, 160)]


def test_half_finished_directory_counts_what_is_missing_with_its_own_caps(dry, directory, monkeypatch):
    monkeypatch.setattr(trial, "TIME_FACTOR", 1e9)
    board = runner.Runner(request(submissions=["nadamw", "slow=adamw"], studies=1), directory, Clock())
    benchmark = board.resolve()
    next(iter(board.run(benchmark)))
    before = {p: p.read_bytes() for p in directory.path.rglob("*") if p.is_file()}
    found = dry(submissions=["nadamw", "slow=adamw"], studies=3)
    assert {r.entrant: r.trials for r in found.rows} == {"nadamw": 2, "slow": 3}
    cost = benchmark.costs["slow"]["tiny"]["{}"]
    slow = next(r for r in found.rows if r.entrant == "slow")
    assert (slow.step_cap, slow.program.relative_cost, slow.cost_s) == (cost.step_cap, cost.factor, 0.0)
    assert {p: p.read_bytes() for p in directory.path.rglob("*") if p.is_file()} == before
    assert (
        dry(submissions=["nadamw", "new=adamw"], studies=1).trials == 2
    )  # slow's, which the directory still wants, and new's


def test_finished_directory_has_nothing_to_tell_and_compiles_nothing(dry, directory, monkeypatch):
    board = runner.Runner(request(submissions=["nadamw"], studies=1, smoke=True), directory, Clock())
    assert len(list(board.run(board.resolve()))) == 1
    monkeypatch.setattr(engine, "compile_bench", lambda *_: pytest.fail("compiled"))
    found = dry(submissions=["nadamw"], studies=1, smoke=True)
    assert (found.rows, found.trials, found.at_most_s, found.disk_bytes) == ([], 0, 0.0, 0)


@pytest.mark.parametrize(("smoke", "evaluations"), [(False, 30), (True, 2)])
def test_evaluations_reference_blocks_and_disk_are_those_of_the_run(smoke, evaluations, dry, directory, monkeypatch):
    monkeypatch.setattr(trial, "TIME_FACTOR", 1e9)
    with_fields(monkeypatch, validation_target=2.0)
    found = dry(submissions=["nadamw"], studies=1, smoke=smoke)
    board = runner.Runner(request(submissions=["nadamw"], studies=1, smoke=smoke), directory, Clock())
    ((spec, outcome),) = board.run(board.resolve())
    assert outcome.last_step == found.rows[0].step_cap
    assert len(directory.events(spec.id)) == found.rows[0].evaluations == evaluations
    assert len(outcome.reference_blocks) == (2 if smoke else 3)
    assert len(outcome.reference_blocks) == dry_run.reference_blocks(evaluations, timed=not smoke)
    taken = sum(p.stat().st_size for p in directory.path.glob("trials/*/*"))
    assert found.disk_bytes == pytest.approx(taken, rel=0.1)


def test_dry_run_refuses_what_run_refuses(dry, directory):
    board = runner.Runner(request(submissions=["nadamw"], smoke=True), directory, Clock())
    board.resolve()
    with pytest.raises(errors.UserError, match="has seed 0, this command asks for 1"):
        dry(submissions=["nadamw"], smoke=True, seed=1)


def test_submission_that_does_not_fit_into_memory_has_a_row_without_numbers(dry, tmp_path):
    path = tmp_path / "greedy.py"
    path.write_text(OOM)
    found = dry(submissions=[f"greedy={path}", "nadamw"], smoke=True)
    assert [(r.entrant, r.program is None) for r in found.rows] == [("greedy", True), ("nadamw", False)]
    assert "too large" in printed(found)


# -------------------------------------------------------------------------------------------------------------- time


class Ticking(Clock):
    """Every charged call of the chunk takes 8 ms: 1 ms a step."""

    def charge(self, program, *args):
        return super().charge(program, *args)[0], 0.008


def test_time_adds_up(directory, monkeypatch):
    with_fields(monkeypatch, reference_steps=60.0)
    found = dry_run.DryRunner(request(submissions=["nadamw", "adamw"]), directory, Ticking()).gather()
    nadamw, adamw = found.rows
    for row in (nadamw, adamw):
        p = row.program
        assert (p.step_s, p.relative_cost) == (0.001, 1.0)
        # 240 steps, 30 evaluations, blocks at step 0, after 20 intervals and at the end: 3 x 3 intervals of 8 ms.
        assert row.trial_s == pytest.approx(0.240 + 30 * p.evaluation_s + p.test_s + 9 * 0.008)
        # 60 steps end at the eighth evaluation; three blocks again.
        assert row.likely_trial_s == pytest.approx(0.064 + 8 * p.evaluation_s + p.test_s + 9 * 0.008)
    assert nadamw.cost_s == pytest.approx(3 * 0.008)
    assert adamw.cost_s == pytest.approx(2 * 0.008 + 20 * 4 * 0.008)  # 20 ABBA blocks, and one chunk of each before
    prepared = sum(r.set_up_s + r.cost_s for r in found.rows)
    assert found.at_most_s == pytest.approx(prepared + 2 * (nadamw.trial_s + adamw.trial_s))
    assert found.likely_s == pytest.approx(prepared + 2 * (nadamw.likely_trial_s + adamw.likely_trial_s))


# ----------------------------------------------------------------------------------------------------------- printed


def printed(found) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    shown.show(found, console)
    return console.export_text()


def test_printed_in_80_columns(dry):
    text = printed(dry())
    assert max(map(len, text.splitlines())) <= 80
    assert "4 trials to run on 1 cpu device" in text
    assert "2.05 k" in text
    assert "tiny: 36 parameters" in text


@pytest.mark.parametrize(("intervals", "blocks"), [(20, 3), (21, 3), (81, 4), (141, 5)])
def test_blocks_of_the_reference_in_long_trials(intervals, blocks):
    # At 0, 20, 80, 140 ... intervals and at the end; one that falls due at the end is the last.
    assert dry_run.reference_blocks(intervals) == blocks


@pytest.mark.parametrize(
    ("number", "said"),
    [(5e-6, "5 us"), (0.0123, "12.3 ms"), (7.04, "7 s"), (720, "12 min"), (7500, "2.1 h"), (2e5, "2.3 d")],
)
def test_seconds_as_a_person_says_them(number, said):
    assert shown.seconds(number) == said


@pytest.mark.parametrize(("number", "said"), [(36, "36 B"), (12_345, "12.3 kB"), (999_700, "1 MB"), (4.2e9, "4.2 GB")])
def test_sizes(number, said):
    assert shown.size(number) == said
