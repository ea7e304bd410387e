"""The generated graphs: valences, labels that say what they claim, fixed splits."""

import hashlib
import itertools

import numpy as np
import pytest

from algoperf_lite.data import graphs


@pytest.fixture(scope="module")
def grown():
    return graphs.grow(np.random.default_rng(5), 400)


@pytest.fixture(scope="module")
def data():
    return graphs.load(train=8192, held_out=2048, eval_train=256)


def test_graphs_are_connected_molecules(grown):
    atoms = np.arange(graphs.ATOMS)
    real = atoms < grown.sizes[:, None]
    np.testing.assert_array_equal(grown.bonds, grown.bonds.transpose(0, 2, 1))
    assert not np.any(grown.bonds[~real])
    joined = (grown.bonds > 0).sum(axis=(1, 2)) // 2
    closures = joined - (grown.sizes - 1)
    assert set(closures) == {0, 1, 2}
    reach = (grown.bonds > 0) | np.eye(graphs.ATOMS, dtype=bool)
    reach = np.linalg.matrix_power(reach.astype(np.int64), graphs.ATOMS) > 0
    np.testing.assert_array_equal(reach[:, 0], real)
    valence = np.array([4, 3, 2, 1, 2, 4, 1, 5])[grown.types]
    assert np.mean(grown.bonds.sum(axis=2)[real] <= valence[real]) > 0.99


def _cycles(joined):
    """Lengths up to 6 of all cycles of a graph, by walking every path from the cycle's lowest atom."""
    found = set()

    def walk(start, atom, path):
        for other in np.flatnonzero(joined[atom]):
            if other == start and len(path) > 2:
                found.add(len(path))
            elif other > start and other not in path and len(path) < 6:
                walk(start, other, [*path, other])

    for start in range(len(joined)):
        walk(start, start, [start])
    return found


def test_ring_labels_are_those_of_the_cycles(grown):
    closures = (grown.bonds > 0).sum(axis=(1, 2)) // 2 - (grown.sizes - 1)
    third = 0
    for g in np.flatnonzero(closures):
        cycles = _cycles(grown.bonds[g] > 0)
        assert grown.rings[g].tolist() == [5 in cycles, 6 in cycles]
        third += closures[g] == 2 and len(cycles) > 1
    assert not grown.rings[closures == 0].any()
    assert third > 0


def _has_walk(grown, g, walk):
    """By trying every sequence of atoms."""
    n, types, bonds = grown.sizes[g], grown.types[g], grown.bonds[g]
    for atoms in itertools.product(range(n), repeat=len(walk.types)):
        fits = all(wanted in (-1, types[a]) for wanted, a in zip(walk.types, atoms, strict=True))
        fits = fits and atoms[0] not in atoms[1:]
        steps = zip(walk.bonds, itertools.pairwise(atoms), strict=True)
        if fits and all(bonds[a, b] > 0 and order in (0, bonds[a, b]) for order, (a, b) in steps):
            return True
    return False


WALKS = (graphs.Walk((0, -1, 1), (0, 1)), graphs.Walk((-1, 2, -1), (1, 0)), graphs.Walk((0, 0, 0), (1, 2)))


@pytest.mark.parametrize("walk", WALKS)
def test_walks_are_found_by_brute_force_too(grown, walk):
    found = graphs.contains(grown, walk)
    assert 0 < found[:60].sum() < 60
    assert found[:60].tolist() == [_has_walk(grown, g, walk) for g in range(60)]


def test_padded_edges_are_the_bonds(grown):
    leaves = graphs.padded(grown)
    for g in range(50):
        bonds = np.zeros((graphs.ATOMS, graphs.ATOMS), int)
        count = leaves["sizes"][g, 1]
        bonds[leaves["senders"][g, :count], leaves["receivers"][g, :count]] = leaves["edges"][g, :count, 0] + 1
        np.testing.assert_array_equal(bonds, grown.bonds[g])
        assert not leaves["edges"][g, count:].any()


def test_labels_are_noisy_in_training_and_true_elsewhere(data):
    train, validation = data["train"]["labels"], data["validation"]["labels"]
    assert train.shape == (8192, graphs.LABELS)
    assert np.mean(train == -1) == pytest.approx(0.1, abs=0.005)
    assert set(np.unique(validation)) == {0, 1}
    rates = validation.mean(axis=0)
    assert rates.min() > 0.02
    assert rates.max() < 0.5
    noise = (train == 1).sum(axis=0) / (train >= 0).sum(axis=0) - (0.97 * rates + 0.03 * (1 - rates))
    assert np.abs(noise).max() < 0.04


def test_the_splits_are_these(data):
    assert {name: len(part["labels"]) for name, part in data.items()} == {
        "train": 8192,
        "eval_train": 256,
        "validation": 2048,
        "test": 2048,
    }
    found = hashlib.sha256()
    for split in ("train", "validation", "test"):
        for name in sorted(data[split]):
            found.update(data[split][name].tobytes())
    assert found.hexdigest() == "19b1d1608e78635209978797279707bb8336ff642ebfc6d75c6f277223692a2a"
    for name, leaf in data["eval_train"].items():
        np.testing.assert_array_equal(leaf, data["train"][name][:256])
