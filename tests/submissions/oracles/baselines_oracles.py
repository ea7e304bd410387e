"""The usual baselines against PyTorch's own optimizers, pytorch-optimizer, and AdaBound's authors' package."""

import math
from collections.abc import Mapping
from typing import Any

from tests.submissions.oracles.cases import Case, torch_run

TORCH = "torch 2.13.0"
OTHERS = "pytorch-optimizer 4.1.0"
SHAPES = {"w": (4, 6), "b": (4,), "s": ()}
RATE = 0.05
CONSTANT = {"learning_rate": RATE, "warmup_fraction": 0.0, "horizon_fraction": 1e9}
SCHEDULED = {"learning_rate": RATE, "warmup_fraction": 0.2, "horizon_fraction": 0.75}
"""At the default budget of 100 steps: 15 of warm-up, 60 of cosine, then none."""
ADAM = {"b1": 0.85, "b2": 0.97, "eps": 1e-8}
BETAS = (0.85, 0.97)


def _schedule(optimizer):
    import torch

    def factor(t):
        return t / 15 if t < 15 else (1 + math.cos(math.pi * min((t - 15) / 60, 1))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _torch(name: str, **arguments: Any):
    def make(parameters):
        import torch

        return getattr(torch.optim, name)(parameters, lr=RATE, **arguments)

    return make


def _other(name: str, **arguments: Any):
    def make(parameters):
        import pytorch_optimizer

        return pytorch_optimizer.load_optimizer(name)(parameters, lr=RATE, **arguments)

    return make


def _adabound(parameters):
    import adabound

    return adabound.AdaBound(parameters, lr=RATE, betas=BETAS, final_lr=0.2, gamma=0.02, eps=1e-8, weight_decay=0.02)


def _case(submission: str, hparams: Mapping[str, Any], package: str, make: Any, tolerance: float, **further: Any) -> Case:
    scheduler = _schedule if hparams["warmup_fraction"] else None
    run = torch_run(make, scheduler=scheduler)
    return Case(submission, hparams, package, run, tolerance, **{"shapes": SHAPES, **further})


_FACTORED = {"learning_rate": RATE, "min_dim_size_to_factor": 1, "decay_rate": 0.8, "clipping_threshold": 1.0}

CASES = {
    "sgd": _case(
        "sgd",
        {**SCHEDULED, "momentum": 0.85, "weight_decay": 0.02},
        TORCH,
        _torch("SGD", momentum=0.85, weight_decay=0.02),
        1e-14,
        still=("b",),
    ),
    "nesterov": _case(
        "nesterov",
        {**SCHEDULED, "momentum": 0.85, "weight_decay": 0.02},
        TORCH,
        _torch("SGD", momentum=0.85, weight_decay=0.02, nesterov=True),
        1e-14,
        still=("b",),
    ),
    "adam": _case(
        "adam",
        {**SCHEDULED, **ADAM, "weight_decay": 0.02},
        TORCH,
        _torch("Adam", betas=BETAS, weight_decay=0.02),
        1e-14,
        still=("b",),
    ),
    "adamw": _case(
        "adamw",
        {**SCHEDULED, **ADAM, "weight_decay": 0.2},
        TORCH,
        _torch("AdamW", betas=BETAS, weight_decay=0.2),
        1e-14,
        still=("b",),
    ),
    # eps: theirs bounds the estimate from below, ours is added to the squared gradient.
    "adafactor": _case(
        "adafactor",
        {**_FACTORED, **SCHEDULED, "eps": 1e-30, "weight_decay": 0.2},
        TORCH,
        _torch("Adafactor", eps=(1e-30, 1e-3), weight_decay=0.2),
        1e-14,
        still=("b",),
    ),
    "adafactor_four_axes": _case(
        "adafactor",
        {**_FACTORED, **CONSTANT, "eps": 1e-30, "weight_decay": 0.2},
        TORCH,
        _torch("Adafactor", eps=(1e-30, 1e-3), weight_decay=0.2),
        1e-14,
        shapes={"w": (2, 3, 4, 6), "b": (4,)},
    ),
    # Theirs multiplies by the learning rate after the momentum, the paper before: the same where it is constant.
    "lars": _case(
        "lars",
        {**CONSTANT, "trust_coefficient": 0.2, "momentum": 0.85, "weight_decay": 0.1},
        OTHERS,
        _other("lars", trust_coefficient=0.2, momentum=0.85, weight_decay=0.1),
        1e-14,
        still=("w", "b"),
    ),
    "lion": _case(
        "lion",
        {**SCHEDULED, "b1": 0.85, "b2": 0.97, "weight_decay": 0.2},
        OTHERS,
        _other("lion", betas=BETAS, weight_decay=0.2),
        1e-14,
    ),
    "signum": _case(
        "signum",
        {**SCHEDULED, "beta": 0.85, "weight_decay": 0.2},
        OTHERS,
        _other("signsgd", momentum=0.85, weight_decay=0.2),
        1e-14,
    ),
    # eps: theirs is beside the uncorrected root, so that it counts for less; it is small here for that.
    "radam": _case(
        "radam",
        {**SCHEDULED, **ADAM, "eps": 1e-13, "weight_decay": 0.2},
        TORCH,
        _torch("RAdam", betas=BETAS, eps=1e-13, weight_decay=0.2, decoupled_weight_decay=True),
        1e-13,
        still=("b",),
    ),
    "adabound": _case(
        "adabound",
        {**SCHEDULED, **ADAM, "final_learning_rate": 0.2, "gamma": 0.02, "weight_decay": 0.02},
        "adabound 0.0.5",
        _adabound,
        1e-14,
        still=("b",),
    ),
    "adamod": _case(
        "adamod",
        {**SCHEDULED, **ADAM, "b3": 0.9, "weight_decay": 0.2},
        OTHERS,
        _other("adamod", betas=(*BETAS, 0.9), weight_decay=0.2),
        1e-14,
    ),
    "ademamix": _case(
        "ademamix",
        {**SCHEDULED, **ADAM, "b3": 0.99, "alpha": 3.0, "weight_decay": 0.2, "slow_warmup_fraction": 0.5},
        OTHERS,
        _other("ademamix", betas=(*BETAS, 0.99), alpha=3.0, t_alpha_beta3=50, weight_decay=0.2, weight_decouple=True),
        1e-14,
        still=("b",),
    ),
    # Theirs clips with a count that is one ahead, and decays in the first call (here at a learning rate of 0).
    "adopt": _case(
        "adopt",
        {**SCHEDULED, "b1": 0.85, "b2": 0.97, "eps": 1e-6, "weight_decay": 0.2},
        OTHERS,
        _other("adopt", betas=BETAS, clip_lambda=lambda k: (k - 1) ** 0.25, weight_decay=0.2, weight_decouple=True),
        1e-14,
        still=("b",),
    ),
    # Theirs adds 1e-15 inside the root of the second moment; test_baselines_rules.py has the rule without.
    "mars": _case(
        "mars",
        {
            **SCHEDULED,
            **ADAM,
            "b1_1d": 0.8,
            "b2_1d": 0.95,
            "gamma": 0.05,
            "weight_decay": 0.2,
            "weight_decay_1d": 0.1,
        },
        OTHERS,
        _other(
            "mars",
            betas=BETAS,
            betas_1d=(0.8, 0.95),
            lr_1d=RATE,
            gamma=0.05,
            weight_decay=0.2,
            weight_decay_1d=0.1,
        ),
        1e-7,
    ),
}
