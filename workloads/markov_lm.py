"""A generated order-2 language with known entropy, modelled by a small transformer (micro)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from algoperf_lite import spec
from algoperf_lite.data import markov
from algoperf_lite.models.adapter import network
from algoperf_lite.models.transformer import Transformer
from algoperf_lite.tasks import language

WIDTH, DEPTH, HEAD_DIM = 64, 2, 32
CONTEXT, BATCH_SIZE = 64, 16

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
    """The workload, or a variant of it; `width` is a multiple of the head dimension 32, `context` at most 255."""

    def make(rngs: nnx.Rngs, width: int) -> Transformer:
        return Transformer(
            markov.VOCABULARY,
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
        name="markov_lm",
        family="language model",
        tier="micro",
        metric="excess_nats",
        direction="min",
        batch_size=BATCH_SIZE,
        step_budget=600,
        evaluations=50,
        eval_batch_size=32,
        num_train_examples=4032 * 256 // context,
        load=functools.partial(markov.load, context=context, eval_windows=96, eval_train=32),
        init=net.init,
        batch=functools.partial(draw_windows, context),
        loss=functools.partial(language.loss, net.apply, z_loss),
        evaluate=functools.partial(excess, net.apply),
        finalise=language.metrics,
        roles=net.roles,
        provenance="order-2 Markov chain, vocabulary 64, entropy rate 2.4563 nats (algoperf_lite/data/markov.py)",
        **spec.recorded(__file__, "markov_lm", version=1),
    )


def draw_windows(context: int, data, key, step):
    """`BATCH_SIZE` windows of the training chains, chain and offset uniform; keyed by (key, step)."""
    chains = data["train"]["chains"]
    chain_key, offset_key = jax.random.split(jax.random.fold_in(key, step))
    chain = jax.random.randint(chain_key, (BATCH_SIZE, 1), 0, chains.shape[0])
    offset = jax.random.randint(offset_key, (BATCH_SIZE, 1), 0, chains.shape[1] - context)
    return {"tokens": chains[chain, offset + jnp.arange(context + 1)]}


def excess(apply, params, model_state, batch):
    """Sums over the unmasked windows, without each one's first position, whose true law the window cannot tell."""
    tokens, law = batch["tokens"], batch["teacher"]
    logits, _ = apply(params, model_state, tokens[:, :-1], train=False, rate=0.0, key=None)
    log_q = jax.nn.log_softmax(logits[:, 1:])
    kl = jnp.sum(law * (jnp.log(jnp.maximum(law, 1e-30)) - log_q), axis=-1)
    ce = -jnp.take_along_axis(log_q, tokens[:, 2:, None], axis=-1)[..., 0]
    return language.window_sums(batch["mask"], excess_nats=jnp.mean(kl, axis=1), ce_nats=jnp.mean(ce, axis=1))
