"""Generated words of formant tones, recognised by a bidirectional LSTM of 82 thousand parameters with CTC (micro)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import tones
from algoperf_lite.models.adapter import network
from algoperf_lite.models.lstm import SpeechLSTM
from algoperf_lite.tasks import common, speech

WIDTH, DEPTH, CONTEXT = 64, 1, 64
BATCH_SIZE = 32
VARIANTS = {"tanh": {"tanh": True}, "no_residual": {"residual": False}}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = CONTEXT,
    tanh: bool = False,
    residual: bool = True,
) -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the stream and of each direction's state.
      depth: bidirectional layers.
      context: frames of the longest utterance, at least 41; with it grows the number of words.
      tanh: the activation before the readout, instead of ReLU.
      residual: whether layers have a shortcut.
    """

    def make(rngs: nnx.Rngs, width: int) -> SpeechLSTM:
        return SpeechLSTM(
            tones.BINS,
            len(tones.ALPHABET) + 1,
            width=width,
            depth=depth,
            frames_per_step=2,
            activation=jnp.tanh if tanh else jax.nn.relu,
            residual=residual,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="tones_lstm",
        family="speech recognition, recurrent",
        tier="micro",
        metric="wer",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=600,
        evaluations=50,
        eval_batch_size=128,
        num_train_examples=8192,
        load=functools.partial(tones.load, context=context, train=8192, held_out=1024, eval_train=128),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(speech.loss, net.apply),
        evaluate=functools.partial(speech.sums, net.apply),
        finalise=functools.partial(speech.metrics, tones.ALPHABET),
        roles=net.roles,
        metric_resolution=1 / 2569,
        gathered=speech.GATHERED,
        provenance="generated formant tones, 24 words (algoperf_lite/data/tones.py); LSTM + CTC after arXiv 1512.02595",
        **spec.recorded(__file__, "tones_lstm", version=1),
    )
