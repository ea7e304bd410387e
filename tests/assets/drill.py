"""The tiny workload for the kill and process drills: no target is reached, ten evaluations, steps that take some time."""

import dataclasses

import jax
import jax.numpy as jnp

from algoperf_lite import spec
from tests.assets import tiny


def build() -> spec.Workload:
    return dataclasses.replace(tiny.build(target=2.0, step_budget=80), name="drill", evaluations=10, init=init, loss=loss)


def init(key):
    params, state = tiny.init(key, True)
    return params, {**state, "heat": jnp.eye(128)}


def loss(params, model_state, batch, key, train, reg):
    """`heat` costs time and enters nothing."""
    value, state = tiny.loss(params, {"mean": model_state["mean"]}, batch, key, train, reg)
    heat = jax.lax.fori_loop(0, 20, lambda _, x: jnp.tanh(x @ x), model_state["heat"] + value)
    return value, {**state, "heat": heat}
