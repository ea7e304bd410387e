"""What `validate` checks of an AlgoPerf file, one line each: on a small problem of its own, without the harness."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite.adapters.algoperf import driving, space
from algoperf_lite.adapters.algoperf import spec as ap
from algoperf_lite.adapters.algoperf.entry import Entry, convention
from algoperf_lite.contract.checking import Failure

STEPS = 10
BATCH = 8  # per device


def points(entry: Entry) -> list[dict[str, Any] | None]:
    """The points of the external ruleset, or None for a file that tunes itself."""
    return [point or None for point in entry.points("external", 0, 1)[0]]


def train(entry: Entry, point: dict[str, Any] | None, **more: Any) -> driving.Driven:
    """Some steps on a small convolutional classifier with batch norm."""
    random = np.random.default_rng(0)
    size = BATCH * len(jax.devices())

    def batch(number: int) -> dict[str, np.ndarray]:
        inputs = np.random.default_rng(number).standard_normal((size, 6, 6, 2)).astype(np.float32)
        return {"inputs": inputs, "targets": (inputs.mean((1, 2, 3)) > 0).astype(np.int32)}

    def draw(*shape: int) -> np.ndarray:
        return (0.3 * random.standard_normal(shape)).astype(np.float32)

    params = {
        "Conv_0": {"kernel": draw(3, 3, 2, 4), "bias": np.zeros(4, np.float32)},
        "BatchNorm_0": {"scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32)},
        "Dense_0": {"kernel": draw(4, 2), "bias": np.zeros(2, np.float32)},
    }
    return driving.drive(
        entry.file.path,
        params=params,
        model_state={"batch_stats": {"mean": np.zeros(4, np.float32), "var": np.ones(4, np.float32)}},
        model_fn=_model,
        loss_fn=_loss,
        batches=batch,
        step_hint=100,
        steps=STEPS,
        hparams=point,
        num_train_examples=100 * size,
        **more,
    )


def _model(params, batch, model_state, mode, rng, update_batch_norm, dropout_rate):
    del update_batch_norm
    x = jax.lax.conv_general_dilated(
        batch["inputs"], params["Conv_0"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x, stats = x + params["Conv_0"]["bias"], model_state["batch_stats"]
    mean, var = stats["mean"], stats["var"]
    if mode is ap.ForwardPassMode.TRAIN:
        mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        stats = {"mean": 0.9 * stats["mean"] + 0.1 * mean, "var": 0.9 * stats["var"] + 0.1 * var}
    norm = params["BatchNorm_0"]
    x = jnp.mean(jax.nn.relu((x - mean) / jnp.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]), (1, 2))
    if mode is ap.ForwardPassMode.TRAIN and dropout_rate is not None:
        x = jnp.where(jax.random.bernoulli(rng, 1 - dropout_rate, x.shape), x / (1 - dropout_rate), 0.0)
    return x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], {"batch_stats": stats}


def _loss(label_batch, logits_batch, mask_batch, label_smoothing):
    del mask_batch
    hot = jax.nn.one_hot(label_batch, 2) * (1 - label_smoothing) + label_smoothing / 2
    nats = -jnp.sum(hot * jax.nn.log_softmax(logits_batch), -1)
    return {"summed": jnp.sum(nats), "n_valid_examples": jnp.float32(nats.shape[0]), "per_example": nats}


# --------------------------------------------------------------------------------------------------- the checks


class Checks:
    """The checks of one file; a training that several of them look at is made once."""

    def __init__(self, entry: Entry):
        self.entry, self._made = entry, {}

    def all(self) -> list[tuple[Callable[..., str | None], str]]:
        """The checks in order, each with its mend; without `runs` the later ones are pointless."""
        see = "see docs/algoperf_submissions.md"
        found = [self.is_read, self.has_points, self.runs, self.stays_finite, self.is_deterministic, self.is_evaluated]
        return [(check, see) for check in found]

    def _train(self, point: int = 0, *, every: int = STEPS, again: bool = False) -> driving.Driven:
        key = (point, every, again)
        if key not in self._made:
            self._made[key] = train(self.entry, points(self.entry)[point], eval_every=every)
        return self._made[key]

    def is_read(self, entry: Entry) -> str:
        """It is one of AlgoPerf's JAX submissions."""
        helpers = len(entry.file.own) - 1
        return convention(entry.file) + (f", with {helpers} more files of its own" if helpers else "")

    def has_points(self, entry: Entry) -> str:
        """Its search space can be drawn from."""
        if entry.file.space is None:
            return f"none ({space.FILE}): the file tunes itself, hyperparameters are None"
        kind = "a list" if isinstance(entry.file.space, list) else "ranges, by AlgoPerf's Halton points"
        return f"{len(points(entry))} points of {len(space.names(entry.file.space))} hyperparameters, from {kind}"

    def runs(self, entry: Entry) -> str:
        """Ten steps on a small problem run, and keep the shapes of parameters and model state."""
        found = self._train()
        if found.complete:
            return f"ends its training after {found.step} steps"
        return f"loss {found.losses[0]:.4g} -> {found.losses[-1]:.4g}"

    def stays_finite(self, entry: Entry) -> str:
        """Every point stays finite for ten steps."""
        count = len(points(entry))
        for number in range(count):
            found = self._train(number)
            if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found.params)):
                what = f"point {number + 1} of {count} is not finite after {found.step} steps"
                raise Failure(what, "lower its learning rate, or warm up")
        return f"{count} of {count}"

    def is_deterministic(self, entry: Entry) -> None:
        """Two runs give the same bits."""
        first, second = (jax.tree.leaves(self._train(again=again).params) for again in (False, True))
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
            raise Failure("the second run differs", "draw from `rng` alone, and keep all memory in the optimizer state")

    def is_evaluated(self, entry: Entry) -> str:
        """Evaluations on the way leave the training finite."""
        rare, often = self._train(), self._train(every=3)
        if not np.all(np.isfinite(often.losses)):
            raise Failure("a loss is not finite", "update_params must undo what prepare_for_eval did to the parameters")
        gaps = jax.tree.leaves(jax.tree.map(lambda a, b: np.max(np.abs(a - b)), rare.params, often.params))
        return f"parameters within {max(gaps):.1g} of a training without them"
