"""Joined spoken digits of unheard speakers, recognised by a Conformer of 1.2 million parameters with CTC (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fetch, spoken_digits
from algoperf_lite.models.adapter import network
from algoperf_lite.models.conformer import Conformer
from algoperf_lite.tasks import speech

WIDTH, DEPTH, HEAD_DIM, CONTEXT = 128, 3, 32, 320
BATCH_SIZE = 16
VARIANTS = {"layer_norm": {"norm": "layer"}, "attention_temperature": {"temperature": 4.0}}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = CONTEXT,
    norm: str = "batch",
    temperature: float = 1.0,
    augmented: bool = True,
) -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the stream, a multiple of the head dimension 32.
      depth: blocks.
      context: frames of the longest utterance; with it grow the positions; digits that do not fit are left out.
      norm: `batch` or `layer`, within the convolution.
      temperature: factor on the attention's logits.
      augmented: whether parts of training utterances are hidden (SpecAugment).
    """

    def make(rngs: nnx.Rngs, width: int) -> Conformer:
        return Conformer(
            spoken_digits.MELS,
            len(spoken_digits.ALPHABET) + 1,
            context=context,
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            frames_per_step=3,
            norm=norm,
            temperature=temperature,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="spoken_conformer",
        family="speech recognition, attention",
        tier="lite",
        metric="wer",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=1000,
        evaluations=25,
        eval_batch_size=64,
        num_train_examples=2000 // 4,
        load=functools.partial(load, context),
        init=net.init,
        batch=functools.partial(speech.draw_joined_digits, BATCH_SIZE, context, augmented),
        loss=functools.partial(speech.loss, net.apply),
        evaluate=functools.partial(speech.sums, net.apply),
        finalise=functools.partial(speech.metrics, spoken_digits.ALPHABET),
        roles=net.roles,
        batch_stats_batches=32 if norm == "batch" else 0,
        gathered=speech.GATHERED,
        metric_resolution=1 / 992,  # words of validation
        data=("fsdd",),
        provenance="Free Spoken Digit Dataset, 4 / 1 / 1 speakers, 2 to 6 digits joined; Conformer (arXiv 2005.08100), CTC",
        **spec.recorded(__file__, "spoken_conformer", version=1),
    )


def load(context: int) -> dict:
    """Recordings and utterances; raises `EnvironmentFault` where the data set is absent."""
    return spoken_digits.load(fetch.path("fsdd"), context, held_out=256, eval_train=64)
