"""The workload object that a submission file is given, and how one of this project's workloads becomes it.

A file calls `model_fn` and `loss_fn` apart; a workload here has one `loss`, in which label smoothing enters last and
linearly, since a mixture of labels enters any log loss linearly. So `model_fn` computes the mean loss of its batch and its
derivative by the smoothing in one forward pass, and hands both on as the "logits"; `loss_fn` puts them together.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite.adapters.algoperf import spec as ap
from algoperf_lite.spec import Reg
from algoperf_lite.spec import Workload as NativeWorkload

PyTree = Any


class Workload(ap.Workload):
    """What a file sees of the problem. One object for a whole run: files pass it to jit as a static argument.

    Args:
      name: what `get_batch_size` is asked with.
      step_hint: number of steps on which schedules are laid out.
      shapes: pytree of arrays or `jax.ShapeDtypeStruct`, the parameters' shapes.
      model_fn: (params, batch, model_state, mode, rng, update_batch_norm, dropout_rate) -> (logits, model_state).
      loss_fn: (label_batch, logits_batch, mask_batch, label_smoothing) -> dict with `summed` and `n_valid_examples`.
      num_train_examples: size of the training set.
      dropout_rate: what a call without one gets; None leaves it to `model_fn`.
      more: further attributes, under AlgoPerf's names.
    """

    metrics_logger = None  # with a logger, some files index a scalar and crash; they all take None

    def __init__(
        self,
        *,
        name: str,
        step_hint: int,
        shapes: PyTree,
        model_fn: Callable[..., tuple[Any, PyTree]],
        loss_fn: Callable[..., Mapping[str, Any]],
        num_train_examples: int = 0,
        dropout_rate: float | None = None,
        loss_type: ap.LossType = ap.LossType.SOFTMAX_CROSS_ENTROPY,
        **more: Any,
    ):
        self.name, self.step_hint, self.num_train_examples, self.loss_type = name, step_hint, num_train_examples, loss_type
        self.param_shapes = jax.tree.map(lambda x: ap.ShapeTuple(tuple(x.shape)), shapes)
        self.model_params_types = jax.tree_util.tree_map_with_path(_parameter_type, shapes)
        self._model_fn, self._loss_fn, self._dropout_rate = model_fn, loss_fn, dropout_rate
        vars(self).update(more)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"workload.{name} is not offered here; docs/algoperf_submissions.md says what is")

    def model_fn(
        self,
        params: PyTree,
        augmented_and_preprocessed_input_batch: Mapping[str, Any],
        model_state: PyTree,
        mode: ap.ForwardPassMode,
        rng: jax.Array,
        update_batch_norm: bool,
        dropout_rate: Any = None,
        use_running_average_bn: bool | None = None,
    ) -> tuple[Any, PyTree]:
        """AlgoPerf's `model_fn`. In training, batch norm uses the batch's statistics, whatever `update_batch_norm` says.

        Raises:
          NotImplementedError: running averages are asked for in training.
        """
        if use_running_average_bn and mode is ap.ForwardPassMode.TRAIN:
            raise NotImplementedError("use_running_average_bn=True in training: batch norm uses batch statistics there")
        rate = self._dropout_rate if dropout_rate is None else dropout_rate
        batch = augmented_and_preprocessed_input_batch
        logits, after = self._model_fn(params, batch, model_state, mode, rng, update_batch_norm, rate)
        return logits, after if update_batch_norm else model_state

    def loss_fn(
        self, label_batch: Any, logits_batch: Any, mask_batch: Any = None, label_smoothing: Any = 0.0
    ) -> Mapping[str, Any]:
        """AlgoPerf's `loss_fn`: neither averaged, nor summed over devices."""
        return self._loss_fn(label_batch, logits_batch, mask_batch, label_smoothing)


def _parameter_type(path: tuple, leaf: Any) -> ap.ParameterType:
    """By name and shape, as upstream's do; every JAX submission throws them away."""
    names = [str(getattr(part, "key", getattr(part, "idx", part))).lower() for part in path] or [""]
    parent, name = "/".join(names[:-1]), names[-1]
    kinds = ap.ParameterType
    batch_norm = "batch" in parent or parent.endswith("bn")
    if name == "scale":
        return kinds.BATCH_NORM_SCALE if batch_norm else kinds.LAYER_NORM_SCALE
    if name == "bias":
        return kinds.BATCH_NORM_BIAS if batch_norm else kinds.LAYER_NORM_BIAS if "norm" in parent else kinds.BIAS
    if "embed" in f"{parent}/{name}":
        return kinds.EMBEDDING
    attention = {"query": kinds.ATTENTION_Q, "key": kinds.ATTENTION_K, "value": kinds.ATTENTION_V}
    if "attention" in parent and names[-2] in (*attention, "out"):
        return attention.get(names[-2], kinds.ATTENTION_OUT)
    return kinds.CONV_WEIGHT if len(leaf.shape) > 2 else kinds.WEIGHT if len(leaf.shape) == 2 else kinds.BIAS


# ------------------------------------------------------------------------------------- this project's workloads


class Logits(NamedTuple):
    """What stands for the logits: a batch's mean loss, and its derivative by the label smoothing. Scalars."""

    loss: jax.Array
    slope: jax.Array


class Losses(dict):
    """What `loss_fn` gives."""

    def __missing__(self, key: str) -> Any:
        raise KeyError(f"{key}: a workload of algoperf-lite has the mean loss of a batch only")


def of(workload: NativeWorkload, *, dropout_rate: float | None = None) -> Workload:
    """A workload of this project as a file sees it.

    Args:
      dropout_rate: what a call without one gets; None is no dropout.
    """

    def model_fn(params, batch, model_state, mode, rng, update_batch_norm, rate):
        del update_batch_norm
        train = mode is ap.ForwardPassMode.TRAIN
        if train and rng is None and (isinstance(rate, jax.Array) or rate):
            raise ValueError("model_fn: rng is None in training, and dropout needs a key")
        key = _typed_key(jax.random.PRNGKey(0) if rng is None else rng) if train else None
        state = {} if model_state is None else model_state

        def loss(smoothing):
            return workload.loss(params, state, batch["inputs"], key, train, Reg(smoothing, 0.0 if rate is None else rate))

        value, slope, after = jax.jvp(loss, (jnp.float32(0.0),), (jnp.float32(1.0),), has_aux=True)
        return Logits(value, slope), after or None

    def loss_fn(label_batch, logits, mask_batch, label_smoothing):
        del mask_batch
        count = jnp.float32(label_batch.shape[0])
        return Losses(summed=(logits.loss + label_smoothing * logits.slope) * count, n_valid_examples=count)

    return Workload(
        name=workload.name,
        step_hint=workload.step_budget,
        shapes=workload.shapes(),
        model_fn=model_fn,
        loss_fn=loss_fn,
        num_train_examples=workload.num_train_examples,
        dropout_rate=dropout_rate,
        target_metric_name=workload.metric,
        validation_target_value=workload.validation_target,
        test_target_value=workload.test_target,
    )


TARGETS = ("label", "labels", "target", "targets")


def as_batch(batch: PyTree) -> dict[str, PyTree]:
    """A batch of this project as the dict that a file is given: `inputs` is the whole of it, since a workload's `loss`
    takes all together, and `targets` one of its arrays. Files hand both on without looking inside."""
    named = [batch[name] for name in TARGETS if name in batch] if isinstance(batch, Mapping) else []
    return {"inputs": batch, "targets": (named or jax.tree.leaves(batch))[0]}


def _typed_key(rng: Any) -> jax.Array:
    """A key of `jax.random`, from one or from its raw numbers, which is what files are given."""
    return rng if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(rng)


def lie_on_a_line(losses: np.ndarray) -> bool:
    """Whether losses at a label smoothing of 0, 1/2 and 1 do."""
    low, middle, high = (float(x) for x in losses)
    return bool(np.isclose(middle, (low + high) / 2, rtol=1e-4, atol=1e-6))
