"""Joined spoken digits of unheard speakers, recognised by a bidirectional LSTM of a million parameters with CTC (lite)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fetch, spoken_digits
from algoperf_lite.models.adapter import network
from algoperf_lite.models.lstm import SpeechLSTM
from algoperf_lite.tasks import speech

WIDTH, DEPTH, CONTEXT = 160, 2, 320
BATCH_SIZE = 16
VARIANTS = {"tanh": {"tanh": True}, "no_residual": {"residual": False}}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = CONTEXT,
    tanh: bool = False,
    residual: bool = True,
    augmented: bool = True,
) -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the stream and of each direction's state.
      depth: bidirectional layers.
      context: frames of the longest utterance; digits that do not fit are left out.
      tanh: the activation before the readout, instead of ReLU.
      residual: whether layers have a shortcut.
      augmented: whether parts of training utterances are hidden (SpecAugment).
    """

    def make(rngs: nnx.Rngs, width: int) -> SpeechLSTM:
        return SpeechLSTM(
            spoken_digits.MELS,
            len(spoken_digits.ALPHABET) + 1,
            width=width,
            depth=depth,
            frames_per_step=3,
            activation=jnp.tanh if tanh else jax.nn.relu,
            residual=residual,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="spoken_lstm",
        family="speech recognition, recurrent",
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
        gathered=speech.GATHERED,
        metric_resolution=1 / 992,  # words of validation
        data=("fsdd",),
        provenance="Free Spoken Digit Dataset, 4 / 1 / 1 speakers, 2 to 6 digits joined; LSTM + CTC after arXiv 1512.02595",
        **spec.recorded(__file__, "spoken_lstm", version=1),
    )


def load(context: int) -> dict:
    """Recordings and utterances; raises `EnvironmentFault` where the data set is absent."""
    return spoken_digits.load(fetch.path("fsdd"), context, held_out=256, eval_train=64)
