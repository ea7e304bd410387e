"""Generated words of formant tones, recognised by a Conformer of 58 thousand parameters with CTC (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import tones
from algoperf_lite.models.adapter import network
from algoperf_lite.models.conformer import Conformer
from algoperf_lite.tasks import common, speech

WIDTH, DEPTH, HEAD_DIM, CONTEXT = 48, 1, 16, 64
BATCH_SIZE = 32
VARIANTS = {"layer_norm": {"norm": "layer"}, "attention_temperature": {"temperature": 4.0}}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = CONTEXT,
    norm: str = "batch",
    temperature: float = 1.0,
) -> spec.Workload:
    """The workload, or a variant of it.

    Args:
      width: of the stream, a multiple of the head dimension 16.
      depth: blocks.
      context: frames of the longest utterance, at least 41; with it grow the positions and the number of words.
      norm: `batch` or `layer`, within the convolution.
      temperature: factor on the attention's logits.
    """

    def make(rngs: nnx.Rngs, width: int) -> Conformer:
        return Conformer(
            tones.BINS,
            len(tones.ALPHABET) + 1,
            context=context,
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            frames_per_step=2,
            norm=norm,
            temperature=temperature,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="tones_conformer",
        family="speech recognition, attention",
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
        batch_stats_batches=32 if norm == "batch" else 0,
        metric_resolution=1 / 2569,
        gathered=speech.GATHERED,
        provenance="generated formant tones, 24 words (algoperf_lite/data/tones.py); Conformer of arXiv 2005.08100, CTC",
        **spec.recorded(__file__, "tones_conformer", version=1),
    )
