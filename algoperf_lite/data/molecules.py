"""Tables of SMILES strings with binary labels, as padded graphs: HIV and Tox21 of MoleculeNet (arXiv 1703.00564).

Features are those of the Open Graph Benchmark that a SMILES string gives without further chemistry. The split is random,
80 / 10 / 10 by a fixed permutation of the distinct strings, so that no string lies in two parts; OGB splits by scaffold,
which needs RDKit and is harder. Molecules that do not fit the padding are left out before the split.
"""

from pathlib import Path

import numpy as np

from algoperf_lite.data import formats, smiles

ELEMENTS = ("C", "N", "O", "S", "F", "Cl", "Br", "I", "P", "Si", "B", "Se", "Na")
_CHARGES = (0, 1, -1)
_MOST_NEIGHBOURS, _MOST_HYDROGENS = 6, 4
NODE_CATEGORIES = (len(ELEMENTS) + 1, len(_CHARGES) + 1, _MOST_NEIGHBOURS + 1, _MOST_HYDROGENS + 1, 2, 2)
"""Of element, charge, number of neighbours, hydrogens, aromatic, in a ring; the last of the first four is the rest."""
EDGE_CATEGORIES = (5, 2)
"""Of the bond (single, double, triple, aromatic, other) and whether it lies in a ring."""
_ELEMENT = {element: i for i, element in enumerate(ELEMENTS)}
_CHARGE = {charge: i for i, charge in enumerate(_CHARGES)}
_BOND = {smiles.SINGLE: 0, smiles.DOUBLE: 1, smiles.TRIPLE: 2, smiles.AROMATIC: 3}

Split = dict[str, np.ndarray]


def load(file: Path, dataset: str, *, atoms: int, bonds: int, eval_train: int) -> dict[str, Split]:
    """Splits `train`, `eval_train` (spread over the training set), `validation` and `test`.

    Each has `nodes` [N, atoms, 6], `edges` [N, 2 bonds, 2], `senders` and `receivers` [N, 2 bonds] and `sizes` [N, 2], all
    uint8, and `labels` [N, L] int8, -1 where the table has none.

    Args:
      file: a table whose header begins with `smiles`; every other column is a label: 0, 1 or nothing.
      dataset: its name in the catalog.
      atoms, bonds: the padding; molecules with more are left out.

    Raises:
      EnvironmentFault: the file is missing, or is no such table.
    """
    strings, labels = table(file, dataset)
    graphs, kept = padded([smiles.parse(text) for text in strings], atoms, bonds)
    parts = split([strings[row] for row in kept])
    everything = graphs | {"labels": labels[kept]}
    found = {name: {key: leaf[rows] for key, leaf in everything.items()} for name, rows in parts.items()}
    rows = np.linspace(0, len(parts["train"]), eval_train, endpoint=False).astype(int)
    return found | {"eval_train": {key: leaf[rows] for key, leaf in found["train"].items()}}


def table(file: Path, dataset: str) -> tuple[list[str], np.ndarray]:
    """The strings and the labels [N, L] int8 of a table."""
    header, *rows = formats.table(file, dataset)
    values = {"0": 0, "1": 1, "": -1}
    if header[0] != "smiles":
        raise formats.broken(file, dataset, f"begins with the column {header[0]!r}, expected 'smiles'")
    try:
        labels = np.array([[values[field] for field in row[1:]] for row in rows], np.int8)
    except KeyError as error:
        raise formats.broken(file, dataset, f"has the label {error.args[0]!r}; accepted are 0, 1 and nothing") from error
    return [row[0] for row in rows], labels


def split(strings: list[str]) -> dict[str, np.ndarray]:
    """Rows of `train`, `validation` and `test`; equal strings lie in one part."""
    distinct, which = np.unique(np.array(strings), return_inverse=True)
    place = np.random.default_rng(0).permutation(len(distinct)) / len(distinct)
    part = np.digitize(place, (0.8, 0.9))[which]
    return {name: np.flatnonzero(part == i) for i, name in enumerate(("train", "validation", "test"))}


def padded(molecules: list[smiles.Molecule], atoms: int, bonds: int) -> tuple[Split, np.ndarray]:
    """The graphs of the molecules that fit, and which these are. Each bond is two edges, next to each other."""
    kept = [i for i, m in enumerate(molecules) if len(m.atoms) <= atoms and len(m.bonds) <= bonds]
    count = len(kept)
    nodes = np.zeros((count, atoms, len(NODE_CATEGORIES)), np.uint8)
    edges = np.zeros((count, 2 * bonds, len(EDGE_CATEGORIES)), np.uint8)
    links = np.zeros((2, count, 2 * bonds), np.uint8)
    sizes = np.zeros((count, 2), np.uint8 if 2 * bonds < 256 else np.uint16)
    for row, index in enumerate(kept):
        molecule = molecules[index]
        sizes[row] = len(molecule.atoms), 2 * len(molecule.bonds)
        nodes[row, : len(molecule.atoms)] = _nodes(molecule)
        if molecule.bonds:
            ends = np.array([bond[:2] for bond in molecule.bonds])
            links[0, row, : sizes[row, 1]] = ends.ravel()
            links[1, row, : sizes[row, 1]] = ends[:, ::-1].ravel()
            kinds = [(_BOND.get(bond.order, len(_BOND)), bond.in_ring) for bond in molecule.bonds]
            edges[row, : sizes[row, 1]] = np.repeat(kinds, 2, axis=0)
    return {"nodes": nodes, "edges": edges, "senders": links[0], "receivers": links[1], "sizes": sizes}, np.array(kept)


def _nodes(molecule: smiles.Molecule) -> list[tuple[int, ...]]:
    neighbours, in_ring = [0] * len(molecule.atoms), [False] * len(molecule.atoms)
    for bond in molecule.bonds:
        for end in (bond.first, bond.second):
            neighbours[end] += 1
            in_ring[end] |= bond.in_ring
    return [
        (
            _ELEMENT.get(atom.element, len(_ELEMENT)),
            _CHARGE.get(atom.charge, len(_CHARGE)),
            min(neighbours[i], _MOST_NEIGHBOURS),
            min(atom.hydrogens, _MOST_HYDROGENS),
            atom.aromatic,
            in_ring[i],
        )
        for i, atom in enumerate(molecule.atoms)
    ]
