"""Pure functions on tables of results. Knows nobody: numpy, and scipy inside the functions that need it.

`rules` says how a board is scored, AlgoPerf's way or ours; `table` holds the rows; `time_to_result` has AlgoPerf's score,
`statistics` the intervals of scores and cells, `verdict` the words for pairs, `aa` the A/A control, `tuning` the luck of
tuning, `ablations` what the ranking owes to the rules. The rules of belief are PROTOCOL P14-P19.
"""

from scoring.aa import Control, control
from scoring.ablations import Ablation, ablate, board_scores, metric_sd, ranks
from scoring.rules import ALGOPERF, OURS, Rules, Unit
from scoring.statistics import ESTIMAND, RANK_ESTIMAND, ScoreIntervals, cell_intervals, score_intervals
from scoring.table import Board, Curve, Key, Trial, Unscorable, Workload
from scoring.time_to_result import (
    apply_rules,
    medians,
    profile,
    ratios,
    scores,
    scores_vs_reference,
    spacing,
    speedups,
    study_times,
    winners,
)
from scoring.tuning import Luck, luck
from scoring.verdict import Verdict, last_look, verdicts

TAUS = OURS.taus

__all__ = [
    "ALGOPERF",
    "ESTIMAND",
    "OURS",
    "RANK_ESTIMAND",
    "TAUS",
    "Ablation",
    "Board",
    "Control",
    "Curve",
    "Key",
    "Luck",
    "Rules",
    "ScoreIntervals",
    "Trial",
    "Unit",
    "Unscorable",
    "Verdict",
    "Workload",
    "ablate",
    "apply_rules",
    "board_scores",
    "cell_intervals",
    "control",
    "last_look",
    "luck",
    "medians",
    "metric_sd",
    "profile",
    "ranks",
    "ratios",
    "score_intervals",
    "scores",
    "scores_vs_reference",
    "spacing",
    "speedups",
    "study_times",
    "verdicts",
    "winners",
]
