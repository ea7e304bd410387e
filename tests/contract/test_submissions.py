"""What `validate` says of submissions with one fault each, and of the same without it."""

import subprocess
import sys

import pytest

from algoperf_lite import registry
from algoperf_lite.contract import micro, submissions
from algoperf_lite.contract.checking import check
from tests.conftest import subprocess_env
from tests.tiny_trial import write_submission

HEAD = 'DEFAULTS = {"learning_rate": 0.1}\n'
SGD = HEAD + "def build(problem, hparams): return optax.sgd(hparams['learning_rate'])\n"


def rule(body, state="optax.EmptyState()"):
    """A submission whose update is `body`, which binds `u` and may rebind `state`."""
    return f"""
import time
{HEAD}
CALLS = []
def build(problem, hparams):
    rate = hparams["learning_rate"]
    def init(params): return {state}
    def update(g, state, params=None):
        {body}
        return u, state
    return optax.GradientTransformation(init, update)
"""


def lines(path, body, words, checks=submissions.CHECKS):
    """(ok, detail, mend) of the check whose title has these words."""
    entry = registry.load_submission(write_submission(path, body))
    (found,) = check([(f, mend) for f, mend in checks if words in f.__doc__], entry)
    return found.ok, found.detail, found.mend


MOMENTUM = "state = jax.tree.map(lambda m, x: 0.9 * m + x, state, g); u = jax.tree.map(lambda m: -rate * {}, state)"
ZEROS = "jax.tree.map(jnp.zeros_like, params)"
SKIP = "optax.apply_if_finite(optax.sgd(hparams['learning_rate']), 5)"
FAULTS = {
    "momentum that is NaN for ever behind finite updates": (
        rule(MOMENTUM.format("jnp.nan_to_num(m)"), ZEROS),
        "gradient that is NaN",
        "never move again",
    ),
    "division by the norm": (
        rule("u = jax.tree.map(lambda x: -rate * x / jnp.linalg.norm(x.ravel()), g)"),
        "Gradients of zero",
        "a value is not finite after 5 steps",
    ),
    "scalars left out": (
        rule("u = jax.tree.map(lambda x: -rate * x * (x.ndim > 0), g)"),
        "0-d leaves",
        "a scalar parameter is 1.0 after ten steps, 1.0 before",
    ),
    "a first axis of every parameter": (
        rule("u = jax.tree.map(lambda x: -rate * x / x.shape[0], g)"),
        "0-d leaves",
        "IndexError",
    ),
    "state of the problem's types": (
        rule(MOMENTUM.format("m"), "jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), problem.shapes)"),
        "bfloat16",
        "was bfloat16[3, 3, 2, 4], became float32[3, 3, 2, 4]",
    ),
    "learning rate by the number of traces": (
        rule("CALLS.append(0); u = jax.tree.map(lambda x: -rate * x / len(CALLS), g)"),
        "Two traces",
        "the second trace is another program",
    ),
    "learning rate by the clock": (
        rule("t = time.perf_counter(); u = jax.tree.map(lambda x: -rate * x * t, g)"),
        "Two traces",
        "the second trace is another program",
    ),
    "first traces alone, long over": (
        rule("CALLS.append(0); u = jax.tree.map(lambda x: -rate * x * min(1.0, len(CALLS) / 3), g)"),
        "Two traces",
        "the second trace is another program",
    ),
    "an array of a trace kept in a global": (
        rule("CALLS.append(rate); u = jax.tree.map(lambda x: -CALLS[0] * x, g)"),
        "restart",
        "an array of one trace was kept in Python",
    ),
    "root of a negative number": (
        rule("u = jax.tree.map(lambda x: -rate * jnp.sqrt(-1.0 - x**2), g)"),
        "Ten steps",
        "the first update is not finite",
    ),
    "growth without end": (
        rule("u = jax.tree.map(lambda x: 1e9 * x, g)"),
        "Ten steps",
        "loss 52.4 -> ",
    ),
    "updates that broadcast": (
        rule("u = jax.tree.map(lambda x: -rate * jnp.mean(x), g)"),
        "keeps the structure",
        "updates: leaf ['conv'] was float32[3, 3, 2, 4], became float32[]",
    ),
    "state of another type": (
        rule("state = state + 0.5; u = jax.tree.map(lambda x: -rate * x, g)", "jnp.zeros((), jnp.int32)"),
        "keeps the structure",
        "state after an update: leaf  was int32[], became float32[]",
    ),
    "an exception of update": (
        rule("u = jax.tree.map(lambda x, y: -rate * x, g, [])"),
        "keeps the structure",
        "update failed at ",
    ),
    "memory in a global": (
        rule("CALLS.append(0); u = jax.tree.map(lambda x: -rate * x / len(CALLS), g)"),
        "restart",
        "the restarted run differs",
    ),
}


BRANCH = "hparams['cap'] if hparams['kind'] == 2 else 0"


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_mend(fault, tmp_path):
    body, words, detail = FAULTS[fault]
    ok, found, mend = lines(tmp_path, body, words)
    assert not ok
    assert detail in found
    assert mend or "became" in found


@pytest.mark.parametrize(
    ("space", "reads", "unread"),
    [
        ('"cap": spec.uniform(0.0, 1.0)', "hparams.get('cpa')", "not cap"),
        ('"one_minus_cap": spec.uniform(0.0, 1.0)', "0", "not cap"),
        ('"cap": spec.choice([1, 2], static=True)', "0", "not cap"),
        ('"cap": spec.uniform(0.0, 1.0)', "hparams['cap']", None),
        ('"cap": spec.uniform(0.0, 1.0)', "dict(**hparams)", "not cap"),
        ('"cap": spec.uniform(0.0, 1.0)', "hparams['learning_rate'] *= hparams.setdefault('cap', 2.0)", None),
        ('"cap": spec.uniform(0.0, 1.0)', "hparams['learning_rate'] *= jax.tree.leaves(hparams)[0]", None),
        ('"cap": spec.uniform(0.0, 1.0)', "hparams['learning_rate'] *= hparams.get('cap', 1.0)", None),
        ('"kind": spec.choice([1, 2], static=True), "cap": spec.uniform(0.0, 1.0)', BRANCH, None),
        ('"label_smoothing": spec.uniform(0.0, 0.1)', "0", None),
    ],
)
def test_dimension_that_build_does_not_use_is_told(space, reads, unread, tmp_path):
    defaults = '"learning_rate": 0.1, "kind": 1, "cap": 1.0'
    body = f"""
SPACE = {{"learning_rate": spec.log_uniform(0.01, 1.0), {space}}}
DEFAULTS = {{{defaults}}}
def build(problem, hparams):
    {reads}
    return optax.sgd(hparams["learning_rate"])
"""
    ok, detail, mend = lines(tmp_path, body, "every dimension")
    assert ok == (unread is None)
    assert detail == unread or (ok and detail.endswith("dimensions"))
    assert ok or "take it out of SPACE" in mend


def test_list_of_too_few_points_is_refused(tmp_path):
    body = SGD + '\nSPACE = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]'
    ok, detail, _ = lines(tmp_path, body, "SPACE or DEFAULTS")
    assert not ok
    assert "SPACE lists 2 points; the external ruleset runs 5" in detail


def test_loss_that_rises_is_told(tmp_path):
    ok, detail, _ = lines(tmp_path, rule("u = jax.tree.map(lambda x: 1e-3 * rate * x, g)"), "Ten steps")
    assert ok
    assert detail.endswith("is a minus sign missing?")
    assert "rose" not in lines(tmp_path, SGD, "Ten steps")[1]


def test_the_program_is_traced_anew_though_other_checks_have_traced_it(tmp_path):
    """What counts traces up to a bound has come to rest when the check begins."""
    body, words, _ = FAULTS["first traces alone, long over"]
    entry = registry.load_submission(write_submission(tmp_path, body))
    lasting = [r for r in check(submissions.CHECKS, entry) if not r.ok]
    assert [words in r.check for r in lasting] == [True]


def test_what_is_not_finite_is_told_once(tmp_path):
    body, words, _ = FAULTS["root of a negative number"]
    entry = registry.load_submission(write_submission(tmp_path, body))
    assert words in list(check(submissions.CHECKS, entry))[-1].check


@pytest.mark.parametrize("words", sorted({words for _, words, _ in FAULTS.values()}))
def test_plain_sgd_has_none_of_the_faults(words, tmp_path):
    ok, detail, _ = lines(tmp_path, SGD, words)
    assert ok, detail


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (SGD, "it shows: the trial ends as diverged"),
        (SGD.replace("optax.sgd(hparams['learning_rate'])", SKIP), "the step is left out"),
        (rule(MOMENTUM.format("jnp.where(jnp.isfinite(x := m), x, jnp.inf)"), ZEROS), "it shows: the trial"),
    ],
    ids=["sgd", "left_out", "turned_into_inf"],
)
def test_nan_that_shows_or_is_left_out_is_said_to(body, words, tmp_path):
    ok, detail, _ = lines(tmp_path, body, "gradient that is NaN")
    assert ok
    assert words in detail


def test_bfloat16_may_be_refused(tmp_path):
    refusal = """
def build(problem, hparams):
    if any(s.dtype != jnp.float32 for s in jax.tree.leaves(problem.shapes)):
        raise TypeError("float32 only")
    return optax.sgd(hparams["learning_rate"])
"""
    assert lines(tmp_path, HEAD + refusal, "bfloat16")[:2] == (True, "refused: float32 only")


def test_wrong_bfloat16_training_is_measured(tmp_path):
    body = rule(
        "s = -1 if problem.shapes['scale'].dtype == jnp.bfloat16 else 1; u = jax.tree.map(lambda x: -rate * s * x, g)"
    )
    ok, detail, _ = lines(tmp_path, body, "bfloat16")
    assert not ok
    assert "away from the float32 run's, of norm" in detail


def test_checks_on_workloads_pass_for_sgd_and_tell_the_state(tmp_path):
    body = SGD.replace("hparams['learning_rate'])", "hparams['learning_rate'], momentum=0.9)")
    entry = registry.load_submission(write_submission(tmp_path, body))
    found = micro.OnWorkloads(entry, [micro.SPREAD])
    assert found.finite(entry) == micro.SPREAD
    assert found.same_on_eight_devices(entry).startswith("after 5 steps on markov_lm within")
    assert found.memory(entry) == "1.00 x the parameters"


SPREAD = """
import sys
from algoperf_lite import environment, registry
from algoperf_lite.contract import micro
from algoperf_lite.contract.checking import check
environment.setup()
entry = registry.load_submission(sys.argv[1])
found = micro.OnWorkloads(entry, [micro.SPREAD])
for line in check([(found.finite, ""), (found.same_on_eight_devices, "")], entry):
    print(line.ok, line.detail)
"""


@pytest.mark.parametrize(
    ("rate", "finite", "same"),
    [
        ("0.1 * len(jax.devices())", "True markov_lm", "False after 5 steps on markov_lm they are"),
        ("jnp.inf if len(jax.devices()) == 8 else 0.1", "True markov_lm", "False after 5 steps on markov_lm they are nan"),
        ("1e30", "False not finite: markov_lm (losses 4.17, nan", "False"),
    ],
    ids=["grows_with_the_devices", "infinite_on_eight", "infinite"],
)
def test_faults_on_workloads_are_found(rate, finite, same, tmp_path):
    """In a child of one device, as on a laptop."""
    source = write_submission(tmp_path, SGD.replace("hparams['learning_rate']", rate))
    done = subprocess.run([sys.executable, "-c", SPREAD, source], env=subprocess_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(finite)
    assert second.startswith(same)
