"""A reader of SMILES strings: atoms and bonds as written, rings, hydrogens; no chemistry beyond that.

Grammar: OpenSMILES 1.0 (opensmiles.org), with `~` (any bond) as an extension. Stereo marks (`@`, `/`, `\\`), isotopes and
atom classes are read and dropped; aromatic atoms are those written in lower case.
"""

import functools
import re
from typing import NamedTuple

SINGLE, DOUBLE, TRIPLE, QUADRUPLE, AROMATIC, ANY = range(1, 7)
_DEFAULT = 7  # a stereo mark: written, but of the order that the bond would have without it
_BONDS = {"-": SINGLE, "/": _DEFAULT, "\\": _DEFAULT, "=": DOUBLE, "#": TRIPLE, "$": QUADRUPLE, ":": AROMATIC, "~": ANY}
_VALENCES = {
    "B": (3,), "C": (4,), "N": (3, 5), "O": (2,), "P": (3, 5), "S": (2, 4, 6), "F": (1,), "Cl": (1,), "Br": (1,), "I": (1,),
}  # fmt: skip
_ELEMENTS = frozenset(
    re.findall(
        "[A-Z][a-z]?",
        "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRuRhPdAgCdInSnSbTeIXeCsBaLaCePrNdPmSm"
        "EuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPoAtRnFrRaAcThPaUNpPuAmCmBkCfEsFmMdNoLrRfDbSgBhHsMtDsRgCnNhFlMcLvTsOg",
    )
)
_AROMATIC = frozenset(("b", "c", "n", "o", "p", "s", "se", "as", "te", "si"))
_TOKEN = re.compile(
    r"(?P<organic>Br|Cl|[BCNOPSFI*]|[bcnops])|(?P<bracket>\[[^\[\]]*\])|(?P<ring>\d|%\d\d|%\(\d{1,5}\))"
    r"|(?P<bond>[-=#$:/\\~])|(?P<open>\()|(?P<close>\))|(?P<dot>\.)"
)
_BRACKET = re.compile(
    r"\[(?P<isotope>\d+)?(?P<symbol>[A-Z][a-z]?|[a-z][a-z]?|\*)(?:@(?:@|TH[12]|AL[12]|SP[123]|(?:TB|OH)\d{1,2})?)?"
    r"(?:H(?P<hydrogens>\d?))?(?P<charge>\+\d+|-\d+|\++|-+)?(?::\d+)?\]"
)


class MalformedSmiles(ValueError):
    """A string that is no SMILES; the message quotes it and says where and why."""


class Atom(NamedTuple):
    """`hydrogens`: of a bracket those written, else what the normal valence leaves free."""

    element: str
    aromatic: bool
    charge: int
    hydrogens: int


class Bond(NamedTuple):
    """`order`: one of SINGLE to ANY. A bond between aromatic atoms that is in no ring is single unless written."""

    first: int
    second: int
    order: int
    in_ring: bool


class Molecule(NamedTuple):
    """Atoms in the order of the string; bonds in the order in which their second atom, or ring digit, appears."""

    atoms: list[Atom]
    bonds: list[Bond]


def parse(text: str) -> Molecule:
    """The molecule that a SMILES string describes; parts between dots are one molecule of several components.

    Raises:
      MalformedSmiles: anything that OpenSMILES does not allow.
    """

    def wrong(place: int, why: str) -> MalformedSmiles:
        return MalformedSmiles(f"SMILES {text!r}, position {place + 1}: {why}")

    atoms: list[tuple[str, bool, int, int | None]] = []
    bonds: list[tuple[int, int, int]] = []  # order 0: none was written
    joined: set[tuple[int, int]] = set()
    rings: dict[int, tuple[int, int, int]] = {}  # number -> atom, order, position
    stack: list[tuple[int, int]] = []  # atom before the branch, position of its parenthesis
    last, order, place = -1, 0, 0

    def join(first: int, second: int, order: int) -> None:
        pair = (min(first, second), max(first, second))
        if pair in joined or first == second:
            raise wrong(place, "a bond between two atoms that are joined already, or of an atom with itself")
        joined.add(pair)
        bonds.append((first, second, order))

    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise wrong(place, f"unexpected {text[place]!r}")
        kind, value = token.lastgroup, token.group()
        if kind in ("organic", "bracket"):
            atoms.append(_organic(value) if kind == "organic" else _bracket(value, functools.partial(wrong, place)))
            if last >= 0:
                join(last, len(atoms) - 1, order)
            last, order = len(atoms) - 1, 0
        elif last < 0:
            raise wrong(place, f"{value!r} needs an atom before it")
        elif kind == "bond":
            if order:
                raise wrong(place, "two bonds in a row")
            order = _BONDS[value]
        elif kind == "ring":
            number = int(value.strip("%()"))
            if number in rings:
                first, begun, _ = rings.pop(number)
                if begun and order and begun != order and _DEFAULT not in (begun, order):
                    raise wrong(place, f"ring bond {number} has two different orders")
                join(first, last, begun if begun not in (0, _DEFAULT) else order or begun)
            else:
                rings[number] = last, order, place
            order = 0
        elif order:
            raise wrong(place, f"a bond leads to {value!r}")
        elif kind == "open":
            stack.append((last, place))
        elif kind == "close":
            if not stack:
                raise wrong(place, "a parenthesis that was never opened")
            before, opened = stack.pop()
            if text[place - 1] == "(":
                raise wrong(opened, "an empty branch")
            last = before
        else:
            last = -1
        place = token.end()
    if rings:
        number, (_, _, begun) = next(iter(rings.items()))
        raise wrong(begun, f"ring bond {number} is never closed")
    if stack:
        raise wrong(stack[-1][1], "a parenthesis that is never closed")
    if order or last < 0:
        raise wrong(len(text) - 1, "the string ends in a bond, a dot, or before its first atom")
    return _finish(atoms, bonds)


def _organic(value: str) -> tuple[str, bool, int, int | None]:
    return value.capitalize(), value.islower(), 0, None


def _bracket(value: str, wrong) -> tuple[str, bool, int, int | None]:
    found = _BRACKET.fullmatch(value)
    if found is None:
        raise wrong(f"{value} is no atom")
    symbol, charge = found["symbol"], found["charge"] or ""
    known = _AROMATIC if symbol.islower() else _ELEMENTS
    if symbol != "*" and symbol not in known:
        raise wrong(f"{value}: unknown element {symbol!r}")
    number = charge.lstrip("+-")
    size = int(number) if number else len(charge)
    hydrogens = 0 if found["hydrogens"] is None else int(found["hydrogens"] or 1)
    return symbol.capitalize(), symbol.islower(), -size if charge.startswith("-") else size, hydrogens


def _finish(atoms, bonds) -> Molecule:
    """Default bonds, rings and hydrogens."""
    ring = _in_ring(len(atoms), bonds)
    valence, done = [0] * len(atoms), []
    for (a, b, order), closed in zip(bonds, ring, strict=True):
        if order in (0, _DEFAULT):
            order = AROMATIC if closed and atoms[a][1] and atoms[b][1] else SINGLE
        done.append(Bond(a, b, order, closed))
        for atom in (a, b):
            valence[atom] += order if order <= QUADRUPLE else 1
    found = []
    for (element, aromatic, charge, hydrogens), used in zip(atoms, valence, strict=True):
        if hydrogens is None:  # an aromatic atom spends one more on the ring's double bonds, where it has one left
            normal = next((v for v in _VALENCES.get(element, (0,)) if v >= used), used)
            hydrogens = max(0, normal - used - aromatic)
        found.append(Atom(element, aromatic, charge, hydrogens))
    return Molecule(found, done)


def _in_ring(count: int, bonds) -> list[bool]:
    """Whether each bond lies on a ring, that is, is no bridge (Tarjan's low-link, without recursion)."""
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for index, (a, b, _) in enumerate(bonds):
        neighbours[a].append((b, index))
        neighbours[b].append((a, index))
    entered, low, found = [-1] * count, [0] * count, [True] * len(bonds)
    clock = 0
    for root in range(count):
        if entered[root] >= 0:
            continue
        entered[root] = low[root] = clock
        clock += 1
        path = [(root, -1, iter(neighbours[root]))]
        while path:
            atom, arrived, left = path[-1]
            for other, bond in left:
                if bond == arrived:
                    continue
                if entered[other] >= 0:
                    low[atom] = min(low[atom], entered[other])
                    continue
                entered[other] = low[other] = clock
                clock += 1
                path.append((other, bond, iter(neighbours[other])))
                break
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[atom])
                    found[arrived] = low[atom] <= entered[above]
    return found
