"""War and Peace and Les Miserables in English, byte by byte, modelled by a transformer of 1.9 million parameters (lite)."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import bytes_text, fetch
from algoperf_lite.models.adapter import network
from algoperf_lite.models.transformer import Transformer
from algoperf_lite.tasks import language

WIDTH, DEPTH, HEAD_DIM = 192, 4, 32
CONTEXT, BATCH_SIZE = 128, 16
BOOKS = ("2600-0.txt", "135-0.txt")
TRAIN_BYTES = 5_860_530

VARIANTS = {
    "post_norm": {"post_norm": True, "embedding_sd": 1.0},
    "attention_temperature": {"temperature": 4.0},
}


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    context: int = CONTEXT,
    qk_norm: bool = True,
    z_loss: float = 0.0,
    post_norm: bool = False,
    embedding_sd: float = 0.3,
    temperature: float = 1.0,
) -> spec.Workload:
    """The workload, or a variant of it; `width` is a multiple of the head dimension 32, `context` a window's tokens."""

    def make(rngs: nnx.Rngs, width: int) -> Transformer:
        return Transformer(
            bytes_text.VOCABULARY,
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            embedding_sd=embedding_sd,
            qk_norm=qk_norm,
            post_norm=post_norm,
            temperature=temperature,
            rngs=rngs,
        )

    net = network(make, width, WIDTH)
    return spec.Workload(
        name="novels_lm",
        family="language model",
        tier="lite",
        metric="perplexity",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=1000,
        evaluations=25,
        eval_batch_size=32,
        num_train_examples=TRAIN_BYTES // context,
        load=functools.partial(load, context),
        init=net.init,
        batch=functools.partial(draw_windows, context),
        loss=functools.partial(language.loss, net.apply, z_loss),
        evaluate=functools.partial(language.sums, net.apply),
        finalise=perplexity,
        roles=net.roles,
        provenance="Project Gutenberg 2600 and 135; of each book 90 % train, then 5 % test, 5 % validation",
        data=("gutenberg",),
        **spec.recorded(__file__, "novels_lm", version=1),
    )


def load(context: int) -> dict:
    """The bytes of both books; raises `EnvironmentFault` where the data set is absent."""
    folder = fetch.path("gutenberg")
    return bytes_text.load_books([folder / name for name in BOOKS], "gutenberg", context, eval_windows=512, eval_train=64)


def draw_windows(context: int, data, key, step):
    """`BATCH_SIZE` windows of the training text at uniform offsets; keyed by (key, step)."""
    text = data["train"]["text"]
    offset = jax.random.randint(jax.random.fold_in(key, step), (BATCH_SIZE, 1), 0, text.shape[0] - context)
    return {"tokens": text[offset + jnp.arange(context + 1)].astype(jnp.int32)}


def perplexity(totals) -> dict[str, float]:
    """`perplexity` per byte, the exponential of `ce_nats`, with the standard error that ce_nats' gives it."""
    found = language.metrics(totals)
    value = math.exp(found["ce_nats"])
    return {"perplexity": value, "perplexity_se": value * found["ce_nats_se"], **found}
