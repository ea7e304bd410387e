"""Schedule-free methods against the authors' package, and against AlgoPerf's entry, which the package brings with it."""

import pathlib
import runpy
import sys
from unittest import mock

from tests.submissions.oracles.cases import Case, torch_run

PACKAGE = "schedulefree 1.4.1"


def _adamw(warmup_steps):
    def make(parameters):
        import schedulefree

        return schedulefree.AdamWScheduleFree(
            parameters, lr=0.05, betas=(0.9, 0.97), eps=1e-8, weight_decay=0.02, warmup_steps=warmup_steps
        )

    return make


def _sgd(warmup_steps):
    def make(parameters):
        import schedulefree

        return schedulefree.SGDScheduleFree(parameters, lr=0.3, momentum=0.85, weight_decay=0.02, warmup_steps=warmup_steps)

    return make


def _radam(parameters):
    import schedulefree

    return schedulefree.RAdamScheduleFree(parameters, lr=0.05, betas=(0.9, 0.97), eps=1e-8, weight_decay=0.02)


def _evaluated(optimizer, tensors):
    optimizer.eval()
    found = {k: p.detach().numpy().copy() for k, p in tensors.items()}
    optimizer.train()
    return found


def _train(make):
    def made(parameters):
        optimizer = make(parameters)
        optimizer.train()
        return optimizer

    return made


def _algoperf_class():
    """The winner's optimizer, with stand-ins for the modules of AlgoPerf's harness, which the class does not use."""
    import schedulefree

    path = pathlib.Path(schedulefree.__file__).parent / "algoperf/self_tuning/schedule_free_adamw/submission.py"
    names = ("absl", "algorithmic_efficiency", "algorithmic_efficiency.pytorch_utils")
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in names}):
        return runpy.run_path(str(path))["AdamWScheduleFree"]


def _algoperf(problem, steps):
    """Between its steps that optimizer holds x; y is recorded too. Its state is made here, in double precision."""
    import torch

    tensors = {k: torch.nn.Parameter(torch.tensor(x, dtype=torch.float64)) for k, x in problem.start.items()}
    b1 = 0.9
    optimizer = _algoperf_class()(
        tensors.values(), lr=0.05, betas=(b1, 0.97), eps=1e-8, weight_decay=0.2, warmup_steps=10, r=0.75
    )
    for p in tensors.values():
        optimizer.state[p].update(z=p.detach().clone(), exp_avg_sq=torch.zeros_like(p), x0=p.detach().clone())

    def arrays():
        return {k: p.detach().numpy().copy() for k, p in tensors.items()}

    seen = [(arrays(), arrays())]
    for t in range(steps):

        def closure(t=t):
            for k, g in problem.gradient(arrays(), t).items():
                tensors[k].grad = torch.tensor(g, dtype=torch.float64)

        optimizer.step(closure)
        x = arrays()
        z = {k: optimizer.state[p]["z"].numpy() for k, p in tensors.items()}
        seen.append(({k: b1 * x[k] + (1 - b1) * z[k] for k in x}, x))
    return seen


_ADAMW = {
    "learning_rate": 0.05,
    "b1": 0.9,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.02,
    "warmup_fraction": 0.1,
    "weight_lr_power": 2.0,
}
_SGD = {"learning_rate": 0.3, "b1": 0.85, "weight_decay": 0.02, "warmup_fraction": 0.1, "weight_lr_power": 2.0}
_SCALAR = {"w": (4, 6), "b": (4,), "s": ()}

CASES = {
    "schedule_free_adamw": Case(
        "schedule_free_adamw", _ADAMW, PACKAGE, torch_run(_train(_adamw(10)), evaluate=_evaluated), tolerance=1e-14
    ),
    "schedule_free_adamw_no_warmup": Case(
        "schedule_free_adamw",
        {**_ADAMW, "warmup_fraction": 0.0},
        PACKAGE,
        torch_run(_train(_adamw(0)), evaluate=_evaluated),
        tolerance=1e-14,
        shapes=_SCALAR,
    ),
    "schedule_free_sgd": Case(
        "schedule_free_sgd",
        _SGD,
        PACKAGE,
        torch_run(_train(_sgd(10)), evaluate=_evaluated),
        tolerance=1e-14,
        still=("b",),
    ),
    "schedule_free_sgd_no_warmup": Case(
        "schedule_free_sgd",
        {**_SGD, "warmup_fraction": 0.0},
        PACKAGE,
        torch_run(_train(_sgd(0)), evaluate=_evaluated),
        tolerance=1e-14,
        shapes=_SCALAR,
    ),
    "schedule_free_radam": Case(
        "schedule_free_radam",
        {k: v for k, v in _ADAMW.items() if k != "warmup_fraction"},
        PACKAGE,
        torch_run(_train(_radam), evaluate=_evaluated),
        tolerance=1e-14,
        still=("b",),
    ),
    "schedule_free_adamw_algoperf": Case(
        "schedule_free_adamw_algoperf",
        {**_ADAMW, "weight_decay": 0.2, "r": 0.75},
        f"{PACKAGE} (its AlgoPerf entry)",
        _algoperf,
        tolerance=1e-14,
        shapes=_SCALAR,
    ),
}
