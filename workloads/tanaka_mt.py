"""Short Japanese sentences, translated into English by an encoder-decoder transformer of 5.5 million parameters (lite)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import fetch, parallel_text
from algoperf_lite.models.adapter import network
from algoperf_lite.models.seq2seq import Seq2Seq
from algoperf_lite.tasks import common, translation

WIDTH, DEPTH, HEAD_DIM = 192, 3, 32
SOURCE_LENGTH, TARGET_LENGTH = 16, 17  # words, the target's with its end: no sentence of the corpus is longer
VOCABULARY = 4096  # of either language: 99.0 and 99.3 % of the words in training
BATCH_SIZE = 64
BEAMS, ALPHA = 4, 0.6  # AlgoPerf's

VARIANTS = {
    "post_norm": {"post_norm": True},
    "attention_temperature": {"temperature": 2.0},
}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = SOURCE_LENGTH,
    post_norm: bool = False,
    temperature: float = 1.0,
) -> spec.Workload:
    """The workload, or a variant of it.

    `width`, of the residual stream, is a multiple of the head dimension 32; `depth` is the number of blocks of the encoder
    and of the decoder. `context` is the number of source words: training pairs with a longer source or target are left
    out, evaluated sources are cut; 16 keeps all whole.
    """

    def make(rngs: nnx.Rngs, width: int) -> Seq2Seq:
        return Seq2Seq(
            (VOCABULARY, VOCABULARY),
            (context, TARGET_LENGTH),
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            embedding_sd=0.1,
            temperature=temperature,
            post_norm=post_norm,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    search = functools.partial(translation.beam_search, length=TARGET_LENGTH, beams=BEAMS, alpha=ALPHA)
    return spec.Workload(
        name="tanaka_mt",
        family="translation",
        tier="lite",
        metric="bleu",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=1500,
        evaluations=25,
        eval_batch_size=64,
        num_train_examples=50_000,
        load=functools.partial(load, context),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(translation.loss, net.apply),
        evaluate=functools.partial(translation.sums, net.apply, search),
        finalise=translation.metrics,
        roles=net.roles,
        gathered=("decoded", "reference"),
        provenance="50,000 Tanaka pairs of odashi/small_parallel_enja, ja to en, official splits; arXiv 1706.03762",
        data=("small_parallel_enja",),
        **spec.recorded(__file__, "tanaka_mt", version=1),
    )


def load(context: int) -> dict:
    """The corpus; raises `EnvironmentFault` where the data set is absent."""
    return parallel_text.load(
        fetch.path("small_parallel_enja"),
        "ja",
        "en",
        lengths=(context, TARGET_LENGTH),
        vocabularies=(VOCABULARY, VOCABULARY),
        eval_train=128,
    )
