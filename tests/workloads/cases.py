"""Every shipped workload at a size that tests can afford: the table that the contract, scan and mesh tests walk."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from algoperf_lite import registry, spec
from algoperf_lite.data import grammar, spoken_digits, tones
from algoperf_lite.tasks import reconstruction, speech


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A workload and what is known of it without training.

    Attributes:
      small: arguments of its `build`.
      chance: the loss of an answer that knows nothing, in the workload's unit; may depend on the batch.
      stacks: path to a list of modules in the parameters that grows with the depth.
    """

    name: str
    small: Mapping[str, Any]
    chance: float | Callable[[Mapping[str, jax.Array]], float]
    stacks: tuple[str, ...] = ("blocks",)

    def __str__(self) -> str:
        return self.name

    def build(self, **changed: Any) -> spec.Workload:
        """The small workload."""
        return registry.load_workload(self.name, **{**self.small, **changed})

    def build_variant(self, name: str) -> spec.Workload:
        """A small held-out variant; what makes it one is not made small."""
        return registry.load_workload(name, **{**self.small, **registry.variants(name)[name]})


def blank_loss(classes: int, frames_per_step: int):
    """CTC loss per label of the uniform law over `classes`, from optax's on logits of zero."""

    def chance(batch):
        steps = -(-batch["length"] // frames_per_step)
        logits = jnp.zeros((len(steps), -(-batch["frames"].shape[1] // frames_per_step), classes))
        return float(jnp.mean(speech.ctc(logits, steps, batch["labels"])))

    return chance


def blank_image(batch):
    """Mean absolute value of the standardised image: the L1 loss of the answer 0."""
    zero = lambda params, state, x, **_: (jnp.zeros(x.shape), state)  # noqa: E731
    return float(reconstruction.loss(zero, {}, {}, batch, None, True, spec.NO_REG)[0])


MICRO = (
    Case("digits_resnet", {"width": 4, "depth": 1}, math.log(10)),
    Case("digits_vit", {"width": 16, "depth": 1}, math.log(10)),
    Case("phantom_unet", {"width": 4, "depth": 1}, blank_image, stacks=("down",)),
    Case("tones_conformer", {"width": 16, "depth": 1}, blank_loss(len(tones.ALPHABET) + 1, 2)),
    Case("tones_lstm", {"width": 16, "depth": 1}, blank_loss(len(tones.ALPHABET) + 1, 2)),
    Case("grammar_mt", {"width": 24, "depth": 1}, math.log(grammar.TARGET_VOCABULARY), stacks=("decoder", "blocks")),
    Case("clicks_dlrm", {"width": 4, "depth": 1}, math.log(2)),
    Case("graphs_gnn", {"width": 48, "depth": 2}, math.log(2)),
    Case("markov_lm", {"width": 32, "depth": 1}, math.log(64)),
)
SPELLED = len(spoken_digits.ALPHABET) + 1
LITE = (
    Case("fashion_resnet", {"width": 4, "depth": 1}, math.log(10)),
    Case("fashion_vit", {"width": 32, "depth": 1}, math.log(10)),
    Case("hippocampus_unet", {"width": 4, "depth": 1}, blank_image, stacks=("down",)),
    Case("spoken_conformer", {"width": 32, "depth": 1, "context": 200}, blank_loss(SPELLED, 3)),
    Case("spoken_lstm", {"width": 32, "depth": 1, "context": 200}, blank_loss(SPELLED, 3)),
    Case("tanaka_mt", {"width": 32, "depth": 1}, math.log(4096), stacks=("decoder", "blocks")),
    Case("adult_dlrm", {"width": 4, "depth": 1}, math.log(2)),
    Case("clicks10m_dlrm", {"width": 4, "depth": 1, "rows": 1 << 16}, math.log(2)),
    Case("hiv_gnn", {"width": 24, "depth": 1}, math.log(2)),
    Case("tox21_gnn", {"width": 24, "depth": 1}, math.log(2)),
    Case("novels_lm", {"width": 32, "depth": 1}, math.log(256)),
    Case("shakespeare_lm", {"width": 32, "depth": 1}, math.log(256)),
)
CASES = MICRO + LITE
