"""SOAP, Muon, Sophia, SAM and Lookahead against PyTorch's and other authors' optimizers."""

import functools
import math
import unittest.mock

from tests.submissions.oracles.cases import Case, torch_run

SCHEDULE = {"warmup_fraction": 0.1, "horizon_fraction": 0.75}
HORIZON, WARMUP = 75, 7  # of a budget of 100


def _scheduler(optimizer, warmup=WARMUP):
    """AlgoPerf's warm-up and cosine."""
    import torch

    def factor(t):
        if t < warmup:
            return t / warmup
        return (1 + math.cos(math.pi * min((t - warmup) / (HORIZON - warmup), 1))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _in_double(run):
    """Without the packages' casts to bfloat16 and float32, which would leave few digits to compare."""

    def in_double(problem, steps):
        import torch

        with (
            unittest.mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone),
            unittest.mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
            unittest.mock.patch.object(torch, "float32", torch.float64),
        ):
            return run(problem, steps)

    return in_double


def _soap(parameters):
    import pytorch_optimizer

    return pytorch_optimizer.SOAP(
        parameters, lr=0.05, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, precondition_frequency=7
    )


class _Together:
    """Some optimizers, or their schedulers, that step together."""

    def __init__(self, *parts):
        self.parts = parts

    def step(self):
        for part in self.parts:
            part.step()


def _muon(parameters):
    import torch

    matrix, vector = parameters
    more = {"lr": 0.02, "eps": 1e-12, "weight_decay": 0.1}
    return _Together(
        torch.optim.Muon([matrix], momentum=0.9, adjust_lr_fn="match_rms_adamw", **more),
        torch.optim.AdamW([vector], betas=(0.8, 0.95), **more),
    )


def _muon_scheduler(pair):
    return _Together(*map(_scheduler, pair.parts))


def _sophia(problem, steps):
    """The package's learning rate, eps and decay are before its clipping at p, ours after it: rate / p, eps / p, p decay.

    It is given the Hessian's diagonal, which an estimate by signs gives exactly where the Hessian is diagonal.
    """
    import pytorch_optimizer
    import torch

    p = SOPHIA["gamma"]

    class Fed(pytorch_optimizer.SophiaH):
        taken = 0

        def step(self):
            parameters = self.param_groups[0]["params"]
            diagonal = [torch.tensor(problem.scale[k]) for k in problem.start]
            assert [tuple(d.shape) for d in diagonal] == [tuple(x.shape) for x in parameters]
            super().step(hessian=diagonal if self.taken % SOPHIA["update_interval"] == 0 else None)
            self.taken += 1

    def make(parameters):
        return Fed(
            parameters,
            lr=SOPHIA["learning_rate"] / p,
            betas=(SOPHIA["b1"], SOPHIA["b2"]),
            weight_decay=SOPHIA["weight_decay"] * p,
            p=p,
            update_period=SOPHIA["update_interval"],
            eps=SOPHIA["eps"] / p,
        )

    return torch_run(make, scheduler=_scheduler)(problem, steps)


def _sam(problem, steps):
    import pytorch_optimizer
    import torch

    tensors = {k: torch.nn.Parameter(torch.tensor(x)) for k, x in problem.start.items()}
    optimizer = pytorch_optimizer.SAM(
        list(tensors.values()), torch.optim.AdamW, rho=0.3, lr=0.05, betas=(0.8, 0.95), eps=1e-8, weight_decay=0.1
    )
    scheduler = _scheduler(optimizer.base_optimizer)

    def arrays():
        return {k: x.detach().numpy().copy() for k, x in tensors.items()}

    seen = [(arrays(), arrays())]
    for t in range(steps):

        def closure(t=t):
            for k, g in problem.gradient(arrays(), t).items():
                tensors[k].grad = torch.tensor(g)

        closure()
        optimizer.step(closure)
        scheduler.step()
        seen.append((arrays(), arrays()))
    return seen


def _lookahead(parameters):
    import pytorch_optimizer
    import torch

    adamw = torch.optim.AdamW(parameters, lr=0.05, betas=(0.8, 0.95), eps=1e-8, weight_decay=0.1)
    return pytorch_optimizer.Lookahead(adamw, k=4, alpha=0.3)


def _slow(optimizer, tensors):
    return {k: optimizer.state[x]["slow_params"].numpy().copy() for k, x in tensors.items()}


ADAMW = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-8, "weight_decay": 0.1, **SCHEDULE}
SOPHIA = {
    "learning_rate": 0.02,
    "b1": 0.9,
    "b2": 0.8,
    "gamma": 0.4,
    "eps": 1e-12,
    "weight_decay": 0.1,
    "update_interval": 6,
    **SCHEDULE,
}
CASES = {
    # Square: the first statistics of another shape are of lower rank, and their null space has no basis of its own. Without
    # warm-up, as the first step must move nothing whatever its learning rate.
    "soap": Case(
        "soap",
        {**ADAMW, "b1": 0.9, "frequency": 7, "warmup_fraction": 0.0},
        "pytorch-optimizer 4.1.0",
        _in_double(torch_run(_soap, scheduler=functools.partial(_scheduler, warmup=0))),
        tolerance=1e-13,
        shapes={"w": (5, 5), "b": (4,)},
    ),
    "muon": Case(
        "muon",
        {**ADAMW, "learning_rate": 0.02, "momentum": 0.9, "eps": 1e-12, "consistent_rms": 0.2},
        "torch 2.13.0",
        _in_double(torch_run(_muon, scheduler=_muon_scheduler)),
        tolerance=1e-13,
    ),
    "sophia": Case("sophia", SOPHIA, "pytorch-optimizer 4.1.0", _sophia, tolerance=1e-13),
    "sam": Case("sam", {**ADAMW, "rho": 0.3}, "pytorch-optimizer 4.1.0", _in_double(_sam), tolerance=1e-12),
    "lookahead": Case(
        "lookahead",
        {**ADAMW, "sync_period": 4, "slow_step_size": 0.3},
        "pytorch-optimizer 4.1.0",
        torch_run(_lookahead, scheduler=lambda optimizer: _scheduler(optimizer.optimizer), evaluate=_slow),
        tolerance=1e-13,
    ),
}
