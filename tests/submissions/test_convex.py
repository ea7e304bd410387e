"""Distance-based and Schedule-Free methods on a stochastic convex problem: what they promise, checked in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algoperf_lite import averaging, registry, spec

pytestmark = pytest.mark.slow
EXAMPLES, FEATURES, BATCH, STEPS, SEEDS = 1000, 20, 16, 2000, 3
RATES = np.geomspace(2e-3, 2.0, 8)


def _data():
    """Features of uneven scales, labels of a linear rule with 15 % flipped: a separable problem would have no minimum."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((EXAMPLES, FEATURES)) * np.exp(rng.uniform(-1, 1, FEATURES))
    labels = np.sign(features @ rng.standard_normal(FEATURES)) * np.where(rng.random(EXAMPLES) < 0.15, -1, 1)
    return jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.float32)


X, Y = _data()


def _loss(w, x, y):
    return jnp.mean(jax.nn.softplus(-y * (x @ w)))


def _minimum():
    w = jnp.zeros(FEATURES)
    for _ in range(20):
        w -= jnp.linalg.solve(jax.hessian(_loss)(w, X, Y), jax.grad(_loss)(w, X, Y))
    return _loss(w, X, Y)


@pytest.fixture(scope="module")
def gaps():
    """Function (build, eval_params, points) -> gaps [points, 2]: mean over seeds of F - F*, evaluated and trained."""
    minimum = _minimum()

    def gaps(build, evaluate, points):
        def run(point, key):
            tx = optax.with_extra_args_support(build(point))

            def step(carry, key):
                w, state = carry
                rows = jax.random.randint(key, (BATCH,), 0, EXAMPLES)
                updates, state = tx.update(jax.grad(_loss)(w, X[rows], Y[rows]), state, w)
                return (optax.apply_updates(w, updates), state), None

            w = jnp.zeros(FEATURES)
            (w, state), _ = jax.lax.scan(step, (w, tx.init(w)), jax.random.split(key, STEPS))
            return jnp.array([_loss(evaluate(state, w), X, Y), _loss(w, X, Y)])

        keys = jax.random.split(jax.random.key(0), SEEDS)
        all_of = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))
        return np.asarray(jnp.mean(all_of(jnp.asarray(points, jnp.float32), keys), axis=1) - minimum)

    return gaps


def _shipped(gaps, name, varied, points, **fixed):
    entry = registry.load_submission(name)
    problem = spec.Problem.from_params(jnp.zeros(FEATURES), step_budget=STEPS, batch_size=BATCH)
    return gaps(
        lambda point: entry.build(problem, entry.resolve({**fixed, varied: point})),
        entry.eval_params or (lambda state, w: w),
        points,
    )


@pytest.fixture(scope="module")
def tuned_sgd(gaps):
    """Gap of SGD at the best constant learning rate, at the polynomial average of its iterates and at the last one."""
    found = gaps(lambda rate: averaging.polynomial_decay(optax.sgd(rate)), averaging.averaged_params, RATES)
    assert np.all(found[1:-1].min(axis=0) < found[[0, -1]].min(axis=0))  # the best rates are inside the range
    return found.min(axis=0)


def test_averaged_dog_nears_tuned_sgd_over_six_decades_of_its_first_step(gaps, tuned_sgd):
    averaged, last = _shipped(gaps, "dog", "reps_rel", np.geomspace(1e-8, 1e-2, 4)).T
    assert averaged.max() <= 1.3 * tuned_sgd[0]
    assert averaged.max() <= 1.2 * averaged.min()
    assert averaged.max() <= 0.6 * last.min()


def test_averaged_dowg_nears_tuned_sgd_over_six_decades_of_its_first_distance(gaps, tuned_sgd):
    averaged, last = _shipped(gaps, "dowg", "init_estim_sq_dist", np.geomspace(1e-8, 1e-2, 4)).T
    assert averaged.max() <= 1.3 * tuned_sgd[0]
    assert averaged.max() <= 1.2 * averaged.min()
    assert averaged.max() <= 0.6 * last.min()


def test_schedule_free_sgd_lies_between_the_average_and_the_last_iterate_of_tuned_sgd(gaps, tuned_sgd):
    fixed = {"b1": 0.9, "weight_decay": 0.0, "warmup_fraction": 0.05}
    averaged, last = _shipped(gaps, "schedule_free_sgd", "learning_rate", np.geomspace(0.05, 5.0, 8), **fixed).T
    assert averaged.min() <= 1.6 * tuned_sgd[0]
    assert averaged.min() <= 0.8 * min(tuned_sgd[1], last.min())
