"""Who stands where: submissions and pairs in the order of the ranking, and which changes of a rule move a rank."""

import dataclasses
from typing import Any

import scoring
from algoperf_lite.results import Results, compare


def by_rank(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with its submissions by rank, and its pairs by rank with the winner as A; unranked as it is."""
    if not summary["scores"]:
        return summary
    order = [row["submission"] for row in summary["scores"]]
    pairs = [_winner_first(pair, order) for pair in summary["pairs"]]
    return summary | {
        "entrants": order,
        "pairs": sorted(pairs, key=lambda pair: (order.index(pair["a"]), order.index(pair["b"]))),
    }


def _winner_first(pair: dict[str, Any], order: list[str]) -> dict[str, Any]:
    """A is the better one; where none is, the one with the better rank."""
    later = order.index(pair["a"]) > order.index(pair["b"])
    turn = {"worse": True, "better": False}.get(pair["verdict"], later)
    return compare.turned(pair) if turn else pair


def ordered(results: Results, summary: dict[str, Any]) -> Results:
    """The board with its submissions in the order of `summary`: figures and tables of both agree."""
    board = dataclasses.replace(results.board, entrants=tuple(summary["entrants"]))
    return dataclasses.replace(results, board=board)


def moved(summary: dict[str, Any]) -> list[set[str]]:
    """By row of `ablations`, the submissions whose rank is not that of the rules as they are.

    Where a submission is left out the others move up; only what moves beyond that counts. A file that was entered twice
    is ranked once.
    """
    found, twins = [], {control["b"] for control in summary["aa"]}
    for row in summary["ablations"]:
        field = row["scores"].keys() - twins
        before, after = (scoring.ranks({n: r["scores"][n] for n in field}) for r in (summary["ablations"][0], row))
        found.append({name for name in field if after[name] != before[name]})
    return found


def changes(summary: dict[str, Any]) -> dict[str, int] | None:
    """Of the changed rules that the records can tell (`known`), how many move the `first` place.

    None where there is nobody to change places with.
    """
    if len(summary["entrants"]) - len(summary["aa"]) < 2 or not summary["ablations"]:
        return None
    known = [names for row, names in zip(summary["ablations"], moved(summary), strict=True) if row["ranks"]][1:]
    first = {name for name, rank in summary["ablations"][0]["ranks"].items() if rank == 1}
    return {"known": len(known), "first": sum(bool(names & first) for names in known)}
