"""The rules of a board as one value. AlgoPerf's and ours are never mixed (PROTOCOL P14)."""

import dataclasses
from typing import Literal

import numpy as np

Unit = Literal["reference_steps", "seconds", "steps", "steps_x_cost"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a table of trials becomes a score.

    Attributes:
      unit: what the board ranks by.
      winner: of a study's trials that hit, the one with the smallest `time`, or with the smallest `index` of evaluation
        (a tie goes to the smaller time).
      absent: a study without a readable trial is a `miss`, or is `dropped` from the median.
      stop: where a miss is counted in verdicts, in budgets: our clock's second stop (P4), or AlgoPerf's budget itself.
      limit: a time over this multiple of the field's best is a miss.
      tau_max: where the integral of the performance profile ends.
      points: of the linear grid from 1 to `tau_max` on which it is integrated; None: the exact integral.
    """

    unit: Unit = "reference_steps"
    winner: Literal["time", "index"] = "time"
    absent: Literal["miss", "dropped"] = "miss"
    stop: float = 1.25
    limit: float = 4.0
    tau_max: float = 4.0
    points: int | None = 100

    @property
    def taus(self) -> np.ndarray:
        """[points] performance ratios, both ends included; 100 where the integral is exact, for drawing."""
        return np.linspace(1.0, self.tau_max, self.points or 100)


OURS = Rules()
"""Boards of algoperf-lite."""
ALGOPERF = Rules(unit="seconds", winner="index", absent="dropped", stop=1.0)
"""AlgoPerf's official logs, v0.5 and v0.6."""
