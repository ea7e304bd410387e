"""A generated pair of languages, translated by an encoder-decoder transformer of 150 thousand parameters (micro)."""

import functools

from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import grammar
from algoperf_lite.models.adapter import network
from algoperf_lite.models.seq2seq import Seq2Seq
from algoperf_lite.tasks import common, translation

WIDTH, DEPTH, HEAD_DIM = 48, 2, 24
BATCH_SIZE = 32

VARIANTS = {
    "post_norm": {"post_norm": True},
    "attention_temperature": {"temperature": 2.0},
}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    post_norm: bool = False,
    temperature: float = 1.0,
) -> spec.Workload:
    """The workload, or a variant of it.

    `width`, of the residual stream, is a multiple of the head dimension 24; `depth` is the number of blocks of the encoder
    and of the decoder. The lengths are the grammar's.
    """

    def make(rngs: nnx.Rngs, width: int) -> Seq2Seq:
        return Seq2Seq(
            (grammar.SOURCE_VOCABULARY, grammar.TARGET_VOCABULARY),
            (grammar.SOURCE_LENGTH, grammar.TARGET_LENGTH),
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            embedding_sd=0.1,
            temperature=temperature,
            post_norm=post_norm,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    search = functools.partial(translation.greedy, length=grammar.TARGET_LENGTH)
    return spec.Workload(
        name="grammar_mt",
        family="translation",
        tier="micro",
        metric="bleu",
        direction="max",
        batch_size=BATCH_SIZE,
        step_budget=600,
        evaluations=50,
        eval_batch_size=64,
        num_train_examples=16_000,
        load=functools.partial(grammar.load, train=16_000, held_out=512, eval_train=128),
        init=net.init,
        batch=functools.partial(common.draw, BATCH_SIZE),
        loss=functools.partial(translation.loss, net.apply),
        evaluate=functools.partial(translation.sums, net.apply, search),
        finalise=translation.metrics,
        roles=net.roles,
        gathered=("decoded", "reference"),
        provenance="generated grammar pair (algoperf_lite/data/grammar.py), Bayes answer BLEU 94.7; arXiv 1706.03762",
        **spec.recorded(__file__, "grammar_mt", version=1),
    )
