"""AlgoPerf's rule a second time, in plain loops from the text of the reference: the oracle of the tests, not shared code.

`logs`: {submission: {workload: [[evaluations of a trial, ...] of a study, ...]}}, evaluations being (seconds, metric) in
order and None or empty where nothing is readable. `workloads`: {name: (direction, target, base or None)}.
"""

import math
import statistics

import numpy as np


def hit_index(evaluations, direction, target):
    """Step 1."""
    for i, (_, value) in enumerate(evaluations):
        if value <= target if direction == "min" else value >= target:
            return i
    return None


def study_time(trials, direction, target):
    """Step 2; None where no trial is readable."""
    readable = [evaluations for evaluations in trials if evaluations]
    if not readable:
        return None
    first = math.inf, math.inf
    for evaluations in readable:
        i = hit_index(evaluations, direction, target)
        if i is not None:
            first = min(first, (i, evaluations[i][0]))
    return first[1]


def medians(logs, workloads):
    """Step 3: {submission: {workload: median, inf, or NaN for a workload without a study}}."""
    out = {}
    for submission, by_workload in logs.items():
        out[submission] = {}
        for name, (direction, target, _) in workloads.items():
            times = [study_time(trials, direction, target) for trials in by_workload.get(name, [])]
            times = [time for time in times if time is not None]
            out[submission][name] = statistics.median(times) if times else math.nan
    return out


def scores(logs, workloads):
    """Steps 4 to 10: {submission: score}."""
    t = medians(logs, workloads)
    bases = [name for name, (_, _, base) in workloads.items() if base is None]
    variants = {name: base for name, (_, _, base) in workloads.items() if base is not None}

    def failed(time):
        return math.isinf(time) or math.isnan(time)

    for s in t:
        for h, b in variants.items():
            if failed(t[s][b]):
                t[s][h] = math.inf
    for w in workloads:
        there = [t[s][w] for s in t if not math.isnan(t[s][w])]
        for s in t:
            if there and t[s][w] > 4 * min(there):
                t[s][w] = math.inf
    for s in t:
        for h, b in variants.items():
            if failed(t[s][h]):
                t[s][b] = math.inf
    ratio = {s: {} for s in t}
    for w in bases:
        there = [t[s][w] for s in t if not math.isnan(t[s][w])]
        for s in t:
            ratio[s][w] = math.inf if failed(t[s][w]) else t[s][w] / min(there)
    taus = np.linspace(1, 4, 100)
    out = {}
    for s in t:
        rho = [sum(ratio[s][w] <= tau for w in bases) / len(bases) for tau in taus]
        area = 0.0
        for k in range(99):
            area += (rho[k] + rho[k + 1]) / 2 * (taus[k + 1] - taus[k])
        out[s] = area / 3
    return out
