"""Pure functions on tables of results. Knows nobody: numpy, and scipy inside the functions that need it.

`table` holds the rows, `time_to_result` AlgoPerf's score, `statistics` the intervals of scores and cells, `verdict` the
words for pairs, `aa` the A/A control. The rules are those of PROTOCOL P14-P18.
"""

from scoring.aa import Control, control
from scoring.statistics import ESTIMAND, cell_intervals, score_intervals
from scoring.table import Board, Trial, Unscorable, Workload
from scoring.time_to_result import TAUS, medians, profile, ratios, scores, scores_vs_reference, study_times, winners
from scoring.verdict import Verdict, last_look, verdicts

__all__ = [
    "ESTIMAND",
    "TAUS",
    "Board",
    "Control",
    "Trial",
    "Unscorable",
    "Verdict",
    "Workload",
    "cell_intervals",
    "control",
    "last_look",
    "medians",
    "profile",
    "ratios",
    "score_intervals",
    "scores",
    "scores_vs_reference",
    "study_times",
    "verdicts",
    "winners",
]
