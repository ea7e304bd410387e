"""Prodigy, D-Adaptation and MoMo against their authors' packages."""

import math

from tests.submissions.oracles.cases import Case, torch_run

CONSTANT = {"warmup_fraction": 0.0, "horizon_fraction": 1e9}
SCHEDULED = {"warmup_fraction": 0.2, "horizon_fraction": 0.75}
"""Of a budget of 100 steps: 15 of warm-up from 0, 60 of cosine, and 5 at a learning rate of 0 in the 80 of a run."""
FALLING = {"warmup_fraction": 0.0, "horizon_fraction": 1.0}
SHAPES = {"w": (4, 6), "b": (4,), "scale": ()}


def _scheduler(warmup, horizon):
    def factor(t):
        if t < warmup:
            return t / warmup
        return (1 + math.cos(math.pi * min((t - warmup) / (horizon - warmup), 1))) / 2

    def made(optimizer):
        import torch

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    return made


_scheduled, _falling = _scheduler(15, 75), _scheduler(0, 100)


def _prodigy(**options):
    def made(parameters):
        import prodigyopt

        return prodigyopt.Prodigy(parameters, lr=0.7, betas=(0.85, 0.97), eps=1e-3, d0=1e-4, d_coef=1.5, **options)

    return made


def _dadapt_adam(**options):
    def made(parameters):
        import dadaptation

        return dadaptation.DAdaptAdam(
            parameters, lr=0.7, betas=(0.85, 0.97), eps=1e-3, d0=1e-4, weight_decay=0.1, decouple=True, **options
        )

    return made


def _dadapt_sgd(momentum):
    def made(parameters):
        import dadaptation

        return dadaptation.DAdaptSGD(parameters, lr=0.7, momentum=momentum, weight_decay=0.01, d0=1e-3)

    return made


def _with_loss(name, **options):
    """A MoMo optimizer whose `step` takes the loss, and makes its own scalars in double precision as it takes the rest."""

    def made(parameters):
        import momo
        import torch

        class Double(getattr(momo, name)):
            wants_loss = True

            def step(self, loss):
                before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float64)
                try:
                    return super().step(loss=loss)
                finally:
                    torch.set_default_dtype(before)

        return Double(parameters, **options)

    return made


PRODIGY = {"learning_rate": 0.7, "b1": 0.85, "b2": 0.97, "eps": 1e-3, "estim_lr0": 1e-4, "estim_lr_coef": 1.5}
DADAPT_ADAMW = {"learning_rate": 0.7, "b1": 0.85, "b2": 0.97, "eps": 1e-3, "estim_lr0": 1e-4, "weight_decay": 0.1}
DADAPT_SGD = {"learning_rate": 0.7, "estim_lr0": 1e-3, "weight_decay": 0.01}
MOMO = {"learning_rate": 0.6, "beta": 0.8}
MOMO_ADAM = {"learning_rate": 0.05, "b1": 0.85, "b2": 0.97, "eps": 1e-3}

CASES = {
    "prodigy": Case(
        "prodigy",
        {**PRODIGY, **SCHEDULED, "weight_decay": 0.1, "use_bias_correction": False, "safeguard_warmup": False},
        "prodigyopt 1.1.2",
        torch_run(_prodigy(weight_decay=0.1), scheduler=_scheduled),
        tolerance=1e-11,
        shapes=SHAPES,
    ),
    "prodigy_bias_corrected": Case(
        "prodigy",
        {**PRODIGY, **CONSTANT, "weight_decay": 0.0, "use_bias_correction": True, "safeguard_warmup": False},
        "prodigyopt 1.1.2",
        torch_run(_prodigy(use_bias_correction=True)),
        tolerance=1e-11,
    ),
    "prodigy_safeguarded": Case(
        "prodigy",
        {**PRODIGY, **SCHEDULED, "weight_decay": 0.1, "use_bias_correction": True, "safeguard_warmup": True},
        "prodigyopt 1.1.2",
        torch_run(_prodigy(weight_decay=0.1, use_bias_correction=True, safeguard_warmup=True), scheduler=_scheduled),
        tolerance=1e-11,
    ),
    "dadapt_adamw": Case(
        "dadapt_adamw",
        {**DADAPT_ADAMW, **SCHEDULED, "use_bias_correction": False},
        "dadaptation 3.2",
        torch_run(_dadapt_adam(), scheduler=_scheduled),
        tolerance=1e-13,
        shapes=SHAPES,
    ),
    "dadapt_adamw_bias_corrected": Case(
        "dadapt_adamw",
        {**DADAPT_ADAMW, **SCHEDULED, "use_bias_correction": True},
        "dadaptation 3.2",
        torch_run(_dadapt_adam(use_bias_correction=True), scheduler=_scheduled),
        tolerance=1e-13,
    ),
    "dadapt_sgd": Case(
        "dadapt_sgd",
        {**DADAPT_SGD, **FALLING, "momentum": 0.9},
        "dadaptation 3.2",
        torch_run(_dadapt_sgd(0.9), scheduler=_falling),
        tolerance=1e-13,
        shapes=SHAPES,
    ),
    "dadapt_sgd_plain": Case(
        "dadapt_sgd",
        {**DADAPT_SGD, **CONSTANT, "momentum": 0.0},
        "dadaptation 3.2",
        torch_run(_dadapt_sgd(0.0)),
        tolerance=1e-13,
        still=("b",),
    ),
    "momo": Case(
        "momo",
        {**MOMO, **CONSTANT, "weight_decay": 0.0, "lower_bound": -3.0},
        "momo-opt 0.1.0",
        torch_run(_with_loss("Momo", lr=0.6, beta=0.8, lb=-3.0)),
        tolerance=1e-13,
        shapes=SHAPES,
    ),
    "momo_decayed": Case(
        "momo",
        {**MOMO, **SCHEDULED, "weight_decay": 0.1, "lower_bound": -1.0},
        "momo-opt 0.1.0",
        torch_run(_with_loss("Momo", lr=0.6, beta=0.8, lb=-1.0, weight_decay=0.1), scheduler=_scheduled),
        tolerance=1e-13,
        still=("b",),
    ),
    "momo_adaptive": Case(
        "momo",
        {**MOMO, **CONSTANT, "weight_decay": 0.05, "lower_bound": 0.1, "adapt_lower_bound": True},
        "momo-opt 0.1.0",
        torch_run(_with_loss("Momo", lr=0.6, beta=0.8, lb=0.1, weight_decay=0.05, use_fstar=True)),
        tolerance=1e-13,
    ),
    "momo_adam": Case(
        "momo_adam",
        {**MOMO_ADAM, **CONSTANT, "weight_decay": 0.0, "lower_bound": -3.0},
        "momo-opt 0.1.0",
        torch_run(_with_loss("MomoAdam", lr=0.05, betas=(0.85, 0.97), eps=1e-3, lb=-3.0)),
        tolerance=1e-13,
        shapes=SHAPES,
    ),
    "momo_adam_decayed": Case(
        "momo_adam",
        {**MOMO_ADAM, **SCHEDULED, "weight_decay": 0.5, "lower_bound": -1.0},
        "momo-opt 0.1.0",
        torch_run(
            _with_loss("MomoAdam", lr=0.05, betas=(0.85, 0.97), eps=1e-3, lb=-1.0, weight_decay=0.5), scheduler=_scheduled
        ),
        tolerance=1e-13,
        still=("b",),
    ),
    "momo_adam_adaptive": Case(
        "momo_adam",
        {**MOMO_ADAM, **CONSTANT, "weight_decay": 0.5, "lower_bound": 0.1, "adapt_lower_bound": True},
        "momo-opt 0.1.0",
        torch_run(_with_loss("MomoAdam", lr=0.05, betas=(0.85, 0.97), eps=1e-3, lb=0.1, weight_decay=0.5, use_fstar=True)),
        tolerance=1e-13,
    ),
}
