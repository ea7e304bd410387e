"""The SMILES reader: hand cases, refusals, and RDKit on all of Tox21."""

import warnings

import pytest

from algoperf_lite.data import fetch, molecules, smiles
from algoperf_lite.data.smiles import ANY, AROMATIC, DOUBLE, QUADRUPLE, SINGLE, TRIPLE


def _atoms(text):
    return [tuple(atom) for atom in smiles.parse(text).atoms]


def _bonds(text):
    return {(min(b[:2]), max(b[:2])): tuple(b[2:]) for b in smiles.parse(text).bonds}


def test_benzene():
    assert _atoms("c1ccccc1") == [("C", True, 0, 1)] * 6
    ring = {(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)}
    assert _bonds("c1ccccc1") == dict.fromkeys(ring, (AROMATIC, True))


def test_a_bond_between_aromatic_rings_is_single():
    bonds = _bonds("c1ccccc1c1ccccc1")
    assert bonds[5, 6] == (SINGLE, False)
    assert sum(bond == (AROMATIC, True) for bond in bonds.values()) == 12


@pytest.mark.parametrize(
    ("text", "atom"),
    [
        ("C", ("C", False, 0, 4)),
        ("[CH2]", ("C", False, 0, 2)),
        ("[13CH4]", ("C", False, 0, 4)),
        ("[C@@H](F)(Cl)Br", ("C", False, 0, 1)),
        ("[NH4+]", ("N", False, 1, 4)),
        ("[O-]", ("O", False, -1, 0)),
        ("[Fe++]", ("Fe", False, 2, 0)),
        ("[Fe+3]", ("Fe", False, 3, 0)),
        ("[Ti-2]", ("Ti", False, -2, 0)),
        ("[H+]", ("H", False, 1, 0)),
        ("[CH3:12]", ("C", False, 0, 3)),
        ("[OH:1]", ("O", False, 0, 1)),
        ("[se]1cccc1", ("Se", True, 0, 0)),
        ("[nH]1cccc1", ("N", True, 0, 1)),
        ("o1cccc1", ("O", True, 0, 0)),
        ("n1ccccc1", ("N", True, 0, 0)),
        ("*", ("*", False, 0, 0)),
        ("Cl", ("Cl", False, 0, 1)),
        ("S(=O)(=O)(O)O", ("S", False, 0, 0)),
        ("N(=O)=O", ("N", False, 0, 1)),
        ("P(=O)(O)(O)O", ("P", False, 0, 0)),
    ],
)
def test_first_atom(text, atom):
    assert _atoms(text)[0] == atom


@pytest.mark.parametrize(
    ("text", "bonds"),
    [
        ("C=CC#C", {(0, 1): DOUBLE, (1, 2): SINGLE, (2, 3): TRIPLE}),
        ("[U]$[U]~O", {(0, 1): QUADRUPLE, (1, 2): ANY}),
        (r"F/C=C\F", {(0, 1): SINGLE, (1, 2): DOUBLE, (2, 3): SINGLE}),
        ("C(=O)(O)C(C)C", {(0, 1): DOUBLE, (0, 2): SINGLE, (0, 3): SINGLE, (3, 4): SINGLE, (3, 5): SINGLE}),
        ("[Na+].[Cl-]", {}),
        ("C1.C1", {(0, 1): SINGLE}),
        ("C=1CCC1", {(0, 1): SINGLE, (1, 2): SINGLE, (2, 3): SINGLE, (0, 3): DOUBLE}),
        ("C1CCC=1", {(0, 1): SINGLE, (1, 2): SINGLE, (2, 3): SINGLE, (0, 3): DOUBLE}),
        ("C%10CC%10", {(0, 1): SINGLE, (1, 2): SINGLE, (0, 2): SINGLE}),
        ("C%(123)CC%(123)", {(0, 1): SINGLE, (1, 2): SINGLE, (0, 2): SINGLE}),
        ("C1CC1C1CC1", {(0, 1): 1, (1, 2): 1, (0, 2): 1, (2, 3): 1, (3, 4): 1, (4, 5): 1, (3, 5): 1}),
    ],
)
def test_bonds(text, bonds):
    assert {pair: bond[0] for pair, bond in _bonds(text).items()} == bonds


def test_a_stereo_mark_leaves_an_aromatic_bond_aromatic():
    assert _bonds("c1/cccc/c1")[0, 1] == (AROMATIC, True)
    assert _bonds("c/1cccc/c1")[0, 5] == (AROMATIC, True)
    assert _bonds("C/1CCC=1")[0, 3] == (DOUBLE, True)


def test_ring_membership():
    bonds = _bonds("CC1CC2CCC1C2OC")  # a bicycle with two tails
    assert {pair for pair, bond in bonds.items() if not bond[1]} == {(0, 1), (7, 8), (8, 9)}


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        ("", 0, "ends in"),
        ("CC=", 3, "ends in"),
        ("CC.", 3, "ends in"),
        ("=CC", 1, "needs an atom before it"),
        ("(C)C", 1, "needs an atom before it"),
        ("C..C", 3, "needs an atom before it"),
        ("C==C", 3, "two bonds in a row"),
        ("C1CC", 2, "never closed"),
        ("C11", 3, "joined already"),
        ("C12CC12", 7, "joined already"),
        ("C=1CC#1", 7, "two different orders"),
        ("C(C", 2, "never closed"),
        ("CC)C", 3, "never opened"),
        ("C()C", 2, "an empty branch"),
        ("C(=)C", 4, "a bond leads to"),
        ("C=.C", 3, "a bond leads to"),
        ("C[N", 2, "unexpected '['"),
        ("CXC", 2, "unexpected 'X'"),
        ("C C", 2, "unexpected ' '"),
        ("[Xy]", 1, "unknown element 'Xy'"),
        ("[xe]", 1, "unknown element 'xe'"),
        ("[C+-]", 1, "is no atom"),
        ("[]", 1, "is no atom"),
        ("C%1C%1", 2, "unexpected '%'"),
    ],
)
def test_malformed_strings_are_refused_with_place_and_reason(text, position, why):
    with pytest.raises(smiles.MalformedSmiles) as caught:
        smiles.parse(text)
    assert str(caught.value).startswith(f"SMILES {text!r}, position {position}: ")
    assert why in str(caught.value)


def test_deep_chains_need_no_recursion():
    assert len(smiles.parse("C" * 5000).bonds) == 4999


@pytest.mark.slow
def test_all_of_tox21_agrees_with_rdkit(real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Chem = pytest.importorskip("rdkit.Chem", reason="RDKit, the oracle of this test, is not installed")
        pytest.importorskip("rdkit.RDLogger").DisableLog("rdApp.*")
    orders = {"SINGLE": SINGLE, "DOUBLE": DOUBLE, "TRIPLE": TRIPLE, "AROMATIC": AROMATIC}
    written, finished = Chem.SmilesParserParams(), Chem.SmilesParserParams()
    written.sanitize, written.removeHs, finished.removeHs = False, False, False
    strings, _ = molecules.table(fetch.path("molecules") / "tox21.csv", "molecules")
    compared = 0
    for text in strings:
        own = smiles.parse(text)
        theirs = Chem.MolFromSmiles(text, written)
        Chem.FastFindRings(theirs)
        atoms = [(a.GetSymbol(), a.GetIsAromatic(), a.GetFormalCharge()) for a in theirs.GetAtoms()]
        assert [atom[:3] for atom in own.atoms] == atoms, text
        bonds = {}
        for bond in theirs.GetBonds():
            order, ring = orders[str(bond.GetBondType())], bond.IsInRing()
            # RDKit's own reading of a default bond that no ring closes, before it sanitises.
            order = SINGLE if order == AROMATIC and not ring else order
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            bonds[min(ends), max(ends)] = order, ring
        assert {(min(b[:2]), max(b[:2])): tuple(b[2:]) for b in own.bonds} == bonds, text
        sane = Chem.MolFromSmiles(text, finished)
        if sane is not None:
            assert [atom.hydrogens for atom in own.atoms] == [a.GetTotalNumHs() for a in sane.GetAtoms()], text
            compared += 1
    assert compared > 7800
