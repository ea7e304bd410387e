"""What an oracle's case is; the modules beside this one list them, one per family of methods."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tests.submissions.problem import SHAPES, NoisyQuadratic, Trajectory

STEPS = 80
STORED = (1, 2, 3, 5, 10, 20, 40, 60, 80)
"""Steps whose parameters are kept; in closed loop a wrong step shows in all later ones."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One run of another package's optimizer, and the submission that must follow it.

    Attributes:
      submission: shipped name.
      hparams: of the submission.
      package: `name version` of the oracle.
      run: the oracle's trajectory; imports what it needs when it is called.
      tolerance: largest deviation accepted, as `driver.deviation` measures it.
      step_budget: of the submission's problem.
      shapes, still: of `problem.noisy_quadratic`.
    """

    submission: str
    hparams: Mapping[str, Any]
    package: str
    run: Callable[[NoisyQuadratic, int], Trajectory]
    tolerance: float
    step_budget: int = 100
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: SHAPES)
    still: tuple[str, ...] = ()


def torch_run(make: Callable[..., Any], *, scheduler: Callable[[Any], Any] | None = None, evaluate: Any = None) -> Callable:
    """A `Case.run` around a PyTorch optimizer: `make(parameters) -> optimizer`, gradients from the current parameters.

    Args:
      make: called with the list of parameters, in the order of the problem's tensors.
      scheduler: called with the optimizer; its `step()` follows every step of the optimizer.
      evaluate: `evaluate(optimizer, parameters) -> dict of arrays`, the evaluation parameters; default where it trains.
    """

    def run(problem: NoisyQuadratic, steps: int) -> Trajectory:
        import torch

        tensors = {k: torch.nn.Parameter(torch.tensor(x, dtype=torch.float64)) for k, x in problem.start.items()}

        def arrays():
            return {k: p.detach().numpy().copy() for k, p in tensors.items()}

        optimizer = make(list(tensors.values()))
        schedule = scheduler(optimizer) if scheduler else None
        start = arrays()
        seen = [(start, start)]
        for t in range(steps):
            params = arrays()
            for k, g in problem.gradient(params, t).items():
                tensors[k].grad = torch.tensor(g, dtype=torch.float64)
            loss = torch.tensor(problem.loss(params, t), dtype=torch.float64)
            if getattr(optimizer, "wants_loss", False):
                optimizer.step(loss=loss)
            else:
                optimizer.step()
            if schedule is not None:
                schedule.step()
            params = arrays()
            seen.append((params, evaluate(optimizer, tensors) if evaluate else params))
        return seen

    return run
