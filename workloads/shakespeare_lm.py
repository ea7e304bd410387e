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


def build(
    *,
    width: int = WIDTH,
    depth: int = DEPTH,
    qk_norm: bool = True,
    z_loss: float = 0.0,
    post_norm: bool = False,
) -> spec.Workload:
    """The workload, or a variant of it; `width` is a multiple of the head dimension 32."""

    def make(rngs: nnx.Rngs, width: int) -> Transformer:
        return Transformer(
            bytes_text.VOCABULARY,
            width=width,
            depth=depth,
            head_dim=HEAD_DIM,
            embedding_sd=0.3,
            qk_norm=qk_norm,
            post_norm=post_norm,
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
        num_train_examples=1_003_854 // CONTEXT,
        load=load,
        init=net.init,
        batch=draw_windows,
        loss=functools.partial(language.loss, net.apply, z_loss),
        evaluate=functools.partial(language.sums, net.apply),
        finalise=language.metrics,
        roles=net.roles,
        provenance="tinyshakespeare of karpathy/char-rnn; first 90 % train, 5 % validation, 5 % test",
        data=("tinyshakespeare",),
        **spec.recorded(__file__, "shakespeare_lm", version=1),
    )


def load() -> dict:
    """The bytes of the text; raises `EnvironmentFault` where the data set is absent."""
    return bytes_text.load(fetch.path("tinyshakespeare") / "input.txt", CONTEXT, eval_train=64)


def draw_windows(data, key, step):
    """`BATCH_SIZE` windows of the training text at uniform offsets; keyed by (key, step)."""
    text = data["train"]["text"]
    offset = jax.random.randint(jax.random.fold_in(key, step), (BATCH_SIZE, 1), 0, text.shape[0] - CONTEXT)
    return {"tokens": text[offset + jnp.arange(CONTEXT + 1)].astype(jnp.int32)}
