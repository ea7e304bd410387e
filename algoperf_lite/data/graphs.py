"""Generated molecule-like graphs with labels that a message-passing network can find.

Trees of 8 to 16 atoms of 8 types with a valence each, grown so that near atoms are joined, with double bonds and up to
two ring closures of 5 or 6 atoms. Ten labels ask for a typed walk of 3 or 4 atoms somewhere in the graph, two for a ring
of 5 and of 6. Training labels are flipped with probability 0.03 and unknown with 0.1; those of the other splits are true.
"""

import dataclasses

import numpy as np

ATOMS, EDGES, LABELS = 16, 34, 12
TYPES, BONDS = 8, 2
_SHARE = np.array([0.62, 0.12, 0.12, 0.04, 0.04, 0.02, 0.02, 0.02])
_VALENCE = np.array([4, 3, 2, 1, 2, 4, 1, 5])
_WALKS = 10
_FLIPPED, _UNKNOWN = 0.03, 0.1


@dataclasses.dataclass(frozen=True)
class Batch:
    """Many graphs: `types` [N, 16] (0 beyond `sizes`), `sizes` [N], `bonds` [N, 16, 16] (0, 1 or 2, symmetric)."""

    types: np.ndarray
    sizes: np.ndarray
    bonds: np.ndarray
    rings: np.ndarray  # [N, 2] bool: a closure of 5, of 6


@dataclasses.dataclass(frozen=True)
class Walk:
    """`types`: of each atom, -1 for any. `bonds`: between them, 0 for any, 1 or 2."""

    types: tuple[int, ...]
    bonds: tuple[int, ...]


def load(train: int, held_out: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits of `train`, `held_out`, `held_out` and `eval_train` graphs, padded to 16 atoms and 34 directed edges.

    `nodes` [N, 16, 1], `edges` [N, 34, 1], `senders`, `receivers` [N, 34] and `sizes` [N, 2] uint8; `labels` [N, 12]
    int8, -1 where unknown. `eval_train` is the first part of the training set, noise included.
    """
    rng = np.random.default_rng(0)
    graphs = grow(rng, train + 2 * held_out)
    labels = np.stack([*(contains(graphs, walk) for walk in walks(graphs, rng)), *graphs.rings.T], axis=1).astype(np.int8)
    noisy = labels[:train]
    noisy ^= rng.random(noisy.shape) < _FLIPPED
    noisy[rng.random(noisy.shape) < _UNKNOWN] = -1
    everything = padded(graphs) | {"labels": labels}
    bounds = {
        "train": (0, train),
        "eval_train": (0, eval_train),
        "validation": (train, train + held_out),
        "test": (train + held_out, train + 2 * held_out),
    }
    return {name: {key: leaf[slice(*bound)] for key, leaf in everything.items()} for name, bound in bounds.items()}


def grow(rng: np.random.Generator, count: int) -> Batch:
    """All graphs grow in lockstep, an atom at a time; then the ring closures."""
    g = np.arange(count)
    sizes = rng.integers(8, ATOMS + 1, count)
    types = rng.choice(TYPES, (count, ATOMS), p=_SHARE)
    bonds = np.zeros((count, ATOMS, ATOMS), np.int8)
    free = _VALENCE[types]
    distance = np.full((count, ATOMS, ATOMS), 99, np.int8)
    distance[:, np.arange(ATOMS), np.arange(ATOMS)] = 0
    near = np.exp(-0.35 * np.arange(ATOMS)[::-1])
    for i in range(1, ATOMS):
        there = i < sizes
        stuck = np.flatnonzero(there & (free[:, :i] <= 0).all(axis=1))
        free[stuck, i - 1] += _VALENCE[0] - _VALENCE[types[stuck, i - 1]]
        types[stuck, i - 1] = 0
        weight = np.cumsum((free[:, :i] > 0) * near[-i:], axis=1)
        parent = np.minimum((weight <= rng.random((count, 1)) * weight[:, -1:]).sum(axis=1), i - 1)
        order = 1 + ((free[g, parent] >= 2) & (free[:, i] >= 2) & (rng.random(count) < 0.18))
        rows = np.flatnonzero(there)
        a, order = parent[rows], order[rows]
        bonds[rows, a, i] = bonds[rows, i, a] = order
        free[rows, a] -= order
        free[rows, i] -= order
        to_new = distance[rows, a, :i] + 1
        distance[rows, i, :i] = distance[rows, :i, i] = to_new
    rings = np.zeros((count, 2), bool)
    ring = np.zeros((count, ATOMS, ATOMS), bool)
    wanted = rng.integers(0, 3, count)
    for closure in range(2):
        open_ = (free > 0) & (np.arange(ATOMS) < sizes[:, None])
        pairs = np.triu(((distance == 4) | (distance == 5)) & open_[:, :, None] & open_[:, None, :]).reshape(count, -1)
        found = np.cumsum(pairs, axis=1, dtype=np.int16)
        rows = np.flatnonzero((wanted > closure) & (found[:, -1] > 0))
        nth = (rng.random(len(rows)) * found[rows, -1]).astype(np.int16)
        a, b = np.divmod((found[rows] <= nth[:, None]).sum(axis=1), ATOMS)
        rings[rows, distance[rows, a, b] - 4] = True
        closed = path(distance[rows], bonds[rows] > 0, a, b)
        closed[np.arange(len(rows)), [a, b], [b, a]] = True
        # Two rings that share bonds have a third one, of the bonds that are in one of them only.
        third = np.where((closed & ring[rows]).any(axis=(1, 2)), (closed ^ ring[rows]).sum(axis=(1, 2)) // 2, 0)
        for size in (5, 6):
            rings[rows[third == size], size - 5] = True
        ring[rows] |= closed
        bonds[rows, a, b] = bonds[rows, b, a] = 1
        free[rows, a] -= 1
        free[rows, b] -= 1
        to_a, to_b = distance[rows, a], distance[rows, b]
        through = np.minimum(to_a[:, :, None] + to_b[:, None, :], to_b[:, :, None] + to_a[:, None, :]) + 1
        distance[rows] = np.minimum(distance[rows], through)
    types[np.arange(ATOMS) >= sizes[:, None]] = 0
    return Batch(types, sizes, bonds, rings)


def path(distance: np.ndarray, joined: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bonds [N, 16, 16] bool of the shortest paths from atoms a to b [N], of distances and bonds [N, 16, 16].

    Where two are equally short, both are in it; in a graph with one ring they go round its halves.
    """
    g = np.arange(len(a))
    to_a, to_b = distance[g, a], distance[g, b]
    on = to_a + to_b == distance[g, a, b][:, None]
    return joined & on[:, :, None] & on[:, None, :] & (to_a[:, :, None] != to_a[:, None, :])


def walks(graphs: Batch, rng: np.random.Generator) -> list[Walk]:
    """The first ten random walks that 3 to 30 % of the first 2,048 graphs contain."""
    some = Batch(*(getattr(graphs, field.name)[:2048] for field in dataclasses.fields(Batch)))
    found: list[Walk] = []
    while len(found) < _WALKS:
        length = int(rng.integers(3, 5))
        drawn = rng.choice(TYPES, length, p=0.6 * _SHARE + 0.05)
        types = np.where(rng.random(length) < 0.3, -1, drawn)
        walk = Walk(tuple(types.tolist()), tuple(rng.choice(3, length - 1, p=[0.5, 0.3, 0.2]).tolist()))
        if 0.03 <= contains(some, walk).mean() <= 0.3:
            found.append(walk)
    return found


def contains(graphs: Batch, walk: Walk) -> np.ndarray:
    """Whether each graph has the walk, [N] bool; a walk never comes back to the atom where it began.

    The atoms that walks from one start have reached are the bits of a uint16.
    """
    bit = (1 << np.arange(ATOMS)).astype(np.uint16)
    real = np.arange(ATOMS) < graphs.sizes[:, None]

    def of_type(wanted):
        return (real & ((graphs.types == wanted) | (wanted < 0))) @ bit

    reached = np.where((of_type(walk.types[0])[:, None] & bit) > 0, bit, np.uint16(0))
    for wanted, order in zip(walk.types[1:], walk.bonds, strict=True):
        joined = ((graphs.bonds == order) if order else (graphs.bonds > 0)) @ bit  # [N, 16]
        step = np.zeros_like(reached)
        for atom in range(ATOMS):
            step |= np.where(reached & bit[atom], joined[:, atom, None], np.uint16(0))
        reached = step & of_type(wanted)[:, None] & ~bit
    return reached.max(axis=1) > 0


def padded(graphs: Batch) -> dict[str, np.ndarray]:
    """The arrays that a model takes; both directions of a bond are edges, in the order of sender and receiver."""
    count = len(graphs.sizes)
    graph, sender, receiver = np.nonzero(graphs.bonds)
    edges = np.bincount(graph, minlength=count)
    place = np.arange(len(graph)) - np.repeat(np.cumsum(edges) - edges, edges)
    links = np.zeros((3, count, EDGES), np.uint8)
    links[:, graph, place] = sender, receiver, graphs.bonds[graph, sender, receiver] - 1
    return {
        "nodes": graphs.types.astype(np.uint8)[..., None],
        "edges": links[2][..., None],
        "senders": links[0],
        "receivers": links[1],
        "sizes": np.stack([graphs.sizes, edges], axis=1).astype(np.uint8),
    }
