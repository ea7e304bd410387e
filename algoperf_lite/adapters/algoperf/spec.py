"""What a submission file finds under `algoperf.spec`: enums, one exception, and names for annotations.

The names are those of AlgoPerf's public interface. Annotations are evaluated when a file is imported but never looked at,
so their types are `Any`.
"""

import enum
from typing import Any


class ForwardPassMode(enum.Enum):
    """Whether `model_fn` trains (dropout, batch statistics) or evaluates."""

    TRAIN = 0
    EVAL = 1


class LossType(enum.Enum):
    """Kind of a workload's loss."""

    SOFTMAX_CROSS_ENTROPY = 0
    SIGMOID_CROSS_ENTROPY = 1
    MEAN_SQUARED_ERROR = 2
    CTC_LOSS = 3
    MEAN_ABSOLUTE_ERROR = 4


class ParameterType(enum.Enum):
    """What a parameter is for, in AlgoPerf's terms."""

    WEIGHT = 0
    BIAS = 1
    CONV_WEIGHT = 2
    BATCH_NORM_SCALE = 3
    BATCH_NORM_BIAS = 4
    LAYER_NORM_SCALE = 5
    LAYER_NORM_BIAS = 6
    EMBEDDING = 7
    ATTENTION_Q = 8
    ATTENTION_K = 9
    ATTENTION_V = 10
    ATTENTION_OUT = 11
    ATTENTION_QKV = 12
    ATTENTION_KV = 13
    ATTENTION_BIAS = 14


class TrainingCompleteError(Exception):
    """Raised by `update_params` to end the training: what it has trained is evaluated once more."""


class ShapeTuple:
    """The shape of one parameter; a leaf of `workload.param_shapes`."""

    def __init__(self, shape_tuple: tuple[int, ...]):
        self.shape_tuple = shape_tuple

    def __repr__(self) -> str:
        return f"ShapeTuple({self.shape_tuple})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeTuple) and self.shape_tuple == other.shape_tuple

    def __hash__(self) -> int:
        return hash(self.shape_tuple)


class Workload:
    """Base of what a file is given as `workload`; see `workload.Workload`."""


Shape = ParameterShapeTree = ParameterTypeTree = ParameterKey = ParameterContainer = Any
Tensor = RandomState = ModelAuxiliaryState = ModelInitState = OptimizerState = UpdateReturn = Any
Hyperparameters = Timing = Steps = Any
InitOptimizerFn = UpdateParamsFn = PrepareForEvalFn = DataSelectionFn = Any
