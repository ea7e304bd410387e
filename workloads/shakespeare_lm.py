"""Shakespeare's plays, byte by byte, modelled by a transformer of 0.85 million parameters (lite)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import bytes_text, fetch
from algoperf_lite.models.adapter import network
from algoperf_lite.models.transformer import Transformer
from algoperf_lite.tasks import language

WIDTH, DEPTH, HEAD_DIM = 128, 4, 32
CONTEXT, BATCH_SIZE = 128, 16

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
        name="shakespeare_lm",
        family="language model",
        tier="lite",
        metric="ce_nats",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=1000,
        evaluations=25,
        eval_batch_size=32,
        num_train_examples=1_003_854 // context,
        load=functools.partial(load, context),
        init=net.init,
        batch=functools.partial(draw_windows, context),
        loss=functools.partial(language.loss, net.apply, z_loss),
        evaluate=functools.partial(language.sums, net.apply),
        finalise=language.metrics,
        roles=net.roles,
        provenance="tinyshakespeare of karpathy/char-rnn; first 90 % train, 5 % validation, 5 % test",
        data=("tinyshakespeare",),
        **spec.recorded(__file__, "shakespeare_lm", version=1),
    )


def load(context: int) -> dict:
    """The bytes of the text; raises `EnvironmentFault` where the data set is absent."""
    return bytes_text.load(fetch.path("tinyshakespeare") / "input.txt", context, eval_train=64)


def draw_windows(context: int, data, key, step):
    """`BATCH_SIZE` windows of the training text at uniform offsets; keyed by (key, step)."""
    text = data["train"]["text"]
    offset = jax.random.randint(jax.random.fold_in(key, step), (BATCH_SIZE, 1), 0, text.shape[0] - context)
    return {"tokens": text[offset + jnp.arange(context + 1)].astype(jnp.int32)}
