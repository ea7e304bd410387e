"""The one adapter from NNX modules to pure functions of nested dicts.

A module is built by `make(rngs, width) -> nnx.Module`. Its parameters are `nnx.Param`, its running statistics
`nnx.BatchStat`; it holds no random state (dropout gets its key at call time: a merged module with a stream of its own
would draw the same mask in every step). Any other variable a module writes while it runs, such as an
`nnx.Intermediate`, is dropped by `apply`, so a probe can ask for it without changing the timed program.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from algoperf_lite import spec

PyTree = Any

_ATTENTION = {"query": "query", "key": "key", "value": "value", "out": "attention_out"}
_NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm)


@dataclasses.dataclass(frozen=True)
class Network:
    """Pure functions over nested dicts with string keys.

    Attributes:
      init: `init(key) -> (params, model_state)`; traceable. `model_state` is `{}` without running statistics.
      apply: `apply(params, model_state, *args, **kwargs) -> (outputs, new_model_state)`; the module's call
        gets the rest.
      roles: `spec.Role` per parameter.
    """

    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[PyTree, PyTree]]
    roles: PyTree


def network(make: Callable[[nnx.Rngs, int], nnx.Module], width: int, base_width: int) -> Network:
    """The pure functions of `make(rngs, width)`, with the fans of `make(rngs, base_width)` beside its own in the roles.

    Nothing is computed: both modules are built abstractly, and no device is touched.
    """
    abstract = _abstract(make, width)
    graphdef = nnx.split(abstract)[0]

    def init(key):
        module = make(nnx.Rngs(params=key), width)
        _, params, stats = nnx.split(module, nnx.Param, nnx.BatchStat)
        return _with_string_keys(nnx.to_pure_dict(params)), _with_string_keys(nnx.to_pure_dict(stats))

    def apply(params, model_state, *args, **kwargs):
        module = nnx.merge(graphdef, _with_int_keys(params), _with_int_keys(model_state))
        outputs = module(*args, **kwargs)
        stats = nnx.split(module, nnx.BatchStat, ...)[1]
        return outputs, _with_string_keys(nnx.to_pure_dict(stats))

    fans, base = _fans(abstract), _fans(_abstract(make, base_width))
    roles: dict = {}
    for path, (kind, fan_in, fan_out) in fans.items():
        *parents, leaf = path
        node = functools.reduce(lambda d, name: d.setdefault(name, {}), parents, roles)
        node[leaf] = spec.Role(kind, fan_in, fan_out, *base[path][1:])
    return Network(init, apply, roles)


def _abstract(make, width) -> nnx.Module:
    return nnx.eval_shape(lambda: make(nnx.Rngs(params=jax.random.key(0)), width))


def _fans(module: nnx.Module) -> dict[tuple[str, ...], tuple[str, int, int]]:
    """Path of each parameter -> (role, fan_in, fan_out), from its owner's class and its path."""
    found = {}
    for path, owner in nnx.iter_modules(module):
        for name, variable in vars(owner).items():
            if isinstance(variable, nnx.Param) and variable.get_value() is not None:
                key = (*map(str, path), name)
                found[key] = _fan(owner, path, name, variable.get_value().shape)
    return found


_INPUT = ("patches", "stem")  # first layers: their fan-in is the data's, not the width's


def _fan(owner: nnx.Module, path: tuple, name: str, shape: tuple[int, ...]) -> tuple[str, int, int]:
    parent = str(path[-1]) if path else ""
    first = any(str(part) in _INPUT for part in path[-2:])
    fans = math.prod(shape[:-1]), shape[-1] if shape else 1
    if isinstance(owner, nnx.Linear) and name == "kernel":
        kind = "readout" if parent == "readout" else "input" if first else _ATTENTION.get(parent, "matrix")
    elif isinstance(owner, nnx.Conv) and name == "kernel":
        kind = "input" if first else "depthwise" if owner.feature_group_count > 1 else "conv"
    elif isinstance(owner, nnx.Embed):
        kind = "embedding"
    elif isinstance(owner, _NORMS) and name == "scale":
        kind = "norm"
    elif name == "bias":
        kind = "bias"
    elif name == "recurrent":
        kind = "recurrent"
    elif name == "position":
        kind = "position"
    elif not shape:
        kind = "scalar"
    else:
        raise ValueError(f"no role for parameter {'/'.join(map(str, (*path, name)))} of {type(owner).__name__}, {shape}")
    return kind, *fans


# nnx.List gives int keys, which JSON and msgpack would turn into strings behind our back.


def _with_string_keys(tree: PyTree) -> PyTree:
    return {str(k): _with_string_keys(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _with_int_keys(tree: PyTree) -> PyTree:
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdecimal() else k: _with_int_keys(v) for k, v in tree.items()}
