"""Learning-rate schedules as closed forms of the step, traceable in every number.

optax's constructors branch in Python on their numbers, so one compilation could not serve many settings; these do not.
A schedule is a function of optax's step count t (0 at the first update) and returns a scalar of the default float type
(float32; float64 where x64 is on); an array of counts gives an array.

Conventions, where a function states no other:
  steps      H = int(horizon_fraction * step_budget) in all, W = int(warmup_fraction * H) of them warm-up; other fractions
             are of H too.
  warm-up    factor (t + 1) / W: peak / W at the first update, the peak at t = W - 1. `warmup_cosine` has t / W.
  decay      u = (t - W) / (H - W): the peak still at t = W; the last update, t = H - 1, is one step short of u = 1.
  beyond     u = 1 from t = H on, so the end value stays. A phase of no steps is over at once.
  shares     `floor` and other levels are shares of the peak.
Names that choose a formula (`shape`, `mode`, `norm`, `spacing`) are static; all numbers may be traced.
"""

from algoperf_lite.schedules.closed_forms import (
    COOLDOWNS,
    CYCLES,
    cosine,
    cyclical,
    infinite_cosine,
    inverse_sqrt,
    linear,
    power,
    rex,
    uba,
    warmup_constant,
    warmup_cosine,
    wsd,
    wsd_s,
)
from algoperf_lite.schedules.phases import Schedule
from algoperf_lite.schedules.ranges import SPACINGS, RangeReading, lr_range, read_lr_range
from algoperf_lite.schedules.refinement import REFINEMENTS, refined, refined_multipliers

__all__ = [
    "COOLDOWNS",
    "CYCLES",
    "REFINEMENTS",
    "SPACINGS",
    "RangeReading",
    "Schedule",
    "cosine",
    "cyclical",
    "infinite_cosine",
    "inverse_sqrt",
    "linear",
    "lr_range",
    "power",
    "read_lr_range",
    "refined",
    "refined_multipliers",
    "rex",
    "uba",
    "warmup_constant",
    "warmup_cosine",
    "wsd",
    "wsd_s",
]
