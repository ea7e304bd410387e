"""Is A better than B? The verdict of PROTOCOL P17 for every pair of a board, in words that follow from rules.

d = mean over workloads of log(t_A / t_B), judged by a Welch t test over studies. One number per entrant and study is
the mean of log time over workloads, so whatever the workloads of a study share (its search points) is inside the unit.

Choices that P17 leaves open, and why:
- A number of studies that is not a look (4, say) is judged by the first 3: the last look that was reached. More than
  20 studies are judged by the first 20.
- A miss on a workload that both hit in most studies enters at the clock's second stop, which no hit exceeds: it counts
  as the slowest hit there can be, and neither vanishes nor becomes infinite.
- Holm runs over every test made on the board: one of times per pair, and one of hit counts where workloads left d and
  the counts could reject at all (Tarone 1990: a test that cannot reject costs the others nothing). The interval of a
  pair is the one at its own Holm level, so it excludes 0 exactly when the test rejects.
- The two disagree when the hit counts point the other way at all, significant or not: at 3 studies a test of counts can
  hardly reject, and 'better' must not rest on the workloads that are left over.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

LOOKS = (3, 5, 10, 20)
ALPHA = 0.016  # per look; four looks together stay near 5 %
MARGIN = math.log(1.05)  # equivalence, symmetric in A and B
POWER = 0.8


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What can be said of A against B. Ratios are t_A / t_B: below 1, A is faster."""

    a: str
    b: str
    verdict: str  # better, worse, equivalent, not separable
    additions: tuple[str, ...]
    ratio: float  # geometric mean over `workloads`; NaN where none is left
    interval: tuple[float, float]  # of the ratio, at level 1 - alpha
    alpha: float  # of this pair's interval, after Holm
    p: float  # of d = 0, unadjusted; NaN without one
    look: int  # studies behind the verdict; 0 before the first look
    workloads: tuple[str, ...]  # that enter d
    by_hits: tuple[str, ...]  # that enter by hit counts
    hits: tuple[int, int]  # of A and B on `by_hits`
    hits_p: float
    further: dict[str, tuple[int | None, int | None]]  # "5%", "10%": further studies needed, None: over 20 in all


@dataclasses.dataclass(frozen=True)
class _Pair:
    """The evidence on one pair at a look, before Holm."""

    a: int
    b: int
    look: int
    studies: int  # that both have
    kept: np.ndarray  # [workloads] enter d
    d: float
    error: float  # standard error of d
    df: float
    p: float
    hits: tuple[int, int]
    hits_p: float
    hits_least: float  # smallest p that these totals allow


def last_look(studies: int) -> int:
    """The largest look that `studies` reach; 0 before the first."""
    return max((look for look in LOOKS if look <= studies), default=0)


def verdicts(
    entrants: tuple[str, ...],
    workloads: tuple[str, ...],
    times: np.ndarray,
    limits: np.ndarray,
    paired: bool = False,
    intervals: np.ndarray | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Verdict]:
    """The verdict for every pair of entrants, in board order (A before B), or for `pairs` alone.

    Args:
      times: [entrants, workloads, studies] study times in the order of the studies; inf for a study that missed. A study
        that is absent (NaN) on all workloads does not exist: a pair is judged by as many studies as both have. One
        that is absent on some of them has missed there.
      limits: [workloads] the time at which a miss is counted, in the same unit.
      paired: pair by common seeds, if the benchmark file declares it.
      intervals: [entrants, workloads] time between two evaluations, in the same unit. A time is only known to within
        one, so its variance is at least interval^2 / 12 (Sheppard): studies that hit at the same evaluation by chance
        are not certainty.
    """
    own = [found[:, ~np.isnan(found).all(axis=0)] for found in times]
    chosen = list(itertools.combinations(range(len(entrants)), 2)) if pairs is None else pairs
    evidence = [_evidence(a, b, own[a], own[b], limits, paired, intervals) for a, b in chosen]
    tests = np.array([p for pair in evidence for p in (pair.p, pair.hits_p if pair.hits_least <= ALPHA else math.nan)])
    levels, rejected = holm(tests)
    return [
        _verdict(
            entrants,
            workloads,
            pair,
            paired,
            levels[2 * i],
            max(1, int((~np.isnan(tests)).sum())),
            (bool(rejected[2 * i]), bool(rejected[2 * i + 1])),
        )
        for i, pair in enumerate(evidence)
    ]


def holm(p: np.ndarray, alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
    """[tests] p values, NaN where no test was made -> ([tests] level of each, [tests] rejected?).

    The level at which Holm stops also serves all larger p values, so a test's own interval at 1 - level excludes the
    null exactly when it is rejected.
    """
    levels, rejected = np.full(p.shape, alpha), np.zeros(p.shape, bool)
    order = [int(i) for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    going = True
    level = alpha
    for rank, i in enumerate(order):
        level = alpha / (len(order) - rank) if going else level
        going = bool(p[i] <= level)  # the level stays after the first failure, so all larger p values fail too
        levels[i], rejected[i] = level, going
    return levels, rejected


def _evidence(
    a: int,
    b: int,
    times_a: np.ndarray,
    times_b: np.ndarray,
    limits: np.ndarray,
    paired: bool,
    intervals: np.ndarray | None,
) -> _Pair:
    studies = min(times_a.shape[-1], times_b.shape[-1])
    look = last_look(studies)
    n = look or studies
    times = np.stack([times_a[:, :n], times_b[:, :n]])
    hit = np.isfinite(times)
    misses = n - hit.sum(axis=-1)  # [2, workloads]
    kept = (2 * misses <= n).all(axis=0) & (n > 0)  # neither misses in most studies
    hits = (int(hit[0][~kept].sum()), int(hit[1][~kept].sum()))
    hits_p, least = exact_hits(hit[0][~kept].sum(axis=-1), hit[1][~kept].sum(axis=-1), n)
    if not kept.any():
        return _Pair(a, b, look, studies, kept, math.nan, math.nan, math.nan, math.nan, hits, hits_p, least)
    worst = np.maximum(limits[:, None], np.where(hit, times, 0).max(axis=(0, 2))[:, None])
    filled = np.where(hit, times, worst)
    logs = np.log(filled)[:, kept].mean(axis=1)  # [2, studies]
    floors = [0.0, 0.0]  # variance of one study's mean log time that the evaluation grid alone gives
    if intervals is not None:
        middle = np.median(filled, axis=-1)[:, kept]  # [2, kept]
        floors = (((intervals[[a, b]][:, kept] / middle) ** 2 / 12).sum(axis=1) / kept.sum() ** 2).tolist()
    d, error, df = _difference(logs[0], logs[1], paired, floors)
    return _Pair(a, b, look, studies, kept, d, error, df, _p_value(d, error, df), hits, hits_p, least)


def _difference(
    a: np.ndarray, b: np.ndarray, paired: bool, floors: Sequence[float] = (0.0, 0.0)
) -> tuple[float, float, float]:
    """Difference of means over studies, its standard error and degrees of freedom (Welch 1947; NaN for one study)."""
    n = len(a)
    d = float((a - b).mean())
    if n < 2:
        return d, math.nan, math.nan
    if paired:
        return d, math.sqrt(max(float((a - b).var(ddof=1)), float(sum(floors))) / n), n - 1.0
    va, vb = (max(float(x.var(ddof=1)), float(floor)) / n for x, floor in zip((a, b), floors, strict=True))
    df = (va + vb) ** 2 / ((va**2 + vb**2) / (n - 1)) if va**2 + vb**2 > 0 else 2.0 * (n - 1)
    return d, math.sqrt(va + vb), df


def _p_value(d: float, error: float, df: float) -> float:
    """Two-sided; studies that agree to the last digit leave no doubt (p is 0, or 1 where d is 0 too)."""
    from scipy import special

    if math.isnan(error):
        return math.nan
    if error == 0:
        return 1.0 if d == 0 else 0.0
    return float(2 * special.stdtr(df, -abs(d) / error))


def exact_hits(a: np.ndarray, b: np.ndarray, n: int) -> tuple[float, float]:
    """Exact two-sided test that A and B hit equally often, over workloads [w] with `n` studies each.

    Conditional on each workload's total the hits of A are hypergeometric; the total of A over workloads is their
    convolution (the exact stratified test of a common odds ratio of 1).

    Returns:
      p, and the smallest p that any outcome with these totals has; NaN where only one outcome was possible.
    """
    pmf, observed = np.ones(1), 0
    for hits_a, hits_b in zip(a.tolist(), b.tolist(), strict=True):
        total = hits_a + hits_b
        low, high = max(0, total - n), min(n, total)
        stratum = [math.comb(n, k) * math.comb(n, total - k) / math.comb(2 * n, total) for k in range(low, high + 1)]
        pmf = np.convolve(pmf, stratum)
        observed += hits_a - low
    if len(pmf) == 1:
        return math.nan, math.nan

    def two_sided(outcome: int) -> float:
        return float(min(1.0, pmf[pmf <= pmf[outcome] * (1 + 1e-9)].sum()))

    return two_sided(observed), min(two_sided(0), two_sided(len(pmf) - 1))


def _verdict(
    entrants: tuple[str, ...],
    workloads: tuple[str, ...],
    pair: _Pair,
    paired: bool,
    level: float,
    tests: int,
    rejected: tuple[bool, bool],
) -> Verdict:
    from scipy import special

    low = high = math.nan
    if not math.isnan(pair.error):
        half = float(special.stdtrit(pair.df, 1 - level / 2)) * pair.error
        low, high = pair.d - half, pair.d + half
    inside = low > -MARGIN and high < MARGIN
    word, additions = _word(pair, inside, rejected)
    if pair.look and pair.studies != pair.look:
        additions += (f"judged by the first {pair.look} of {pair.studies} studies, the last look reached",)
    return Verdict(
        a=entrants[pair.a],
        b=entrants[pair.b],
        verdict=word,
        additions=additions,
        ratio=math.exp(pair.d) if not math.isnan(pair.d) else math.nan,
        interval=(math.exp(low), math.exp(high)),
        alpha=float(level),
        p=pair.p,
        look=pair.look,
        workloads=tuple(name for name, kept in zip(workloads, pair.kept, strict=True) if kept),
        by_hits=tuple(name for name, kept in zip(workloads, pair.kept, strict=True) if not kept),
        hits=pair.hits,
        hits_p=pair.hits_p,
        further={
            name: further_studies(pair.error, pair.df, pair.look or pair.studies, pair.studies, size, ALPHA / tests, paired)
            for name, size in (("5%", math.log(1.05)), ("10%", math.log(1.10)))
        },
    )


def _word(pair: _Pair, inside: bool, rejected: tuple[bool, bool]) -> tuple[str, tuple[str, ...]]:
    """The order of P17: better or worse, else equivalent, else not separable."""
    if not pair.look:
        return "not separable", ("fewer than 3 studies cannot separate anything",)
    by_time, by_hits = rejected
    lead = np.sign(pair.hits[1] - pair.hits[0])  # as d: negative where A is ahead
    if by_time or by_hits:
        side = np.sign(pair.d) if by_time else lead
        if by_time and lead == -side:
            return "not separable", ("the times and the hit counts disagree",)
        additions = ("by less than 5 %",) if by_time and inside and lead == 0 else ()
        if by_hits and not by_time:
            additions = ("by hit counts",)
        return ("better" if side < 0 else "worse"), additions
    if inside and lead == 0:
        return "equivalent", ()
    return "not separable", ()


def further_studies(
    error: float, df: float, n: int, studies: int, size: float, alpha: float, paired: bool
) -> tuple[int | None, int | None]:
    """(least, most) further studies after which a difference of `size` in log time is found with 80 % power.

    The spread comes from `n` studies and is itself uncertain: the range is its 80 % chi-square interval. A verdict
    falls at looks only, so the answers are steps to looks; None where even the last look is too early.
    """
    from scipy import special

    if math.isnan(error):
        return None, None
    variance = error**2 * n  # of one study's difference
    ends = (variance * df / special.chdtri(df, p) for p in (0.1, 0.9))
    needed = []
    for spread in ends:
        for look in LOOKS:
            freedom = (look - 1) * (1 if paired else df / (n - 1))
            reach = special.stdtrit(freedom, 1 - alpha / 2) + special.stdtrit(freedom, POWER)
            if reach * math.sqrt(spread / look) <= size:
                needed.append(max(0, look - studies))
                break
        else:
            needed.append(None)
    return needed[0], needed[1]
