"""A generated language: an order-2 Markov chain whose next-token law is known exactly.

The teacher's logits are low-rank and multiplicative in the last two tokens, so a model must combine both, and a Zipf
prior makes some pairs rare. Because the true conditionals are known, a model is judged by its mean KL divergence from
them: excess nats without label noise. Entropy rate 2.4563 nats; the best bigram model has an excess of 0.476, the
unigram 1.047.
"""

import dataclasses

import numpy as np

VOCABULARY = 64
_CHAINS, _LENGTH = 4096, 256
_HELD_OUT = 32  # chains each for validation and test


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Attributes: `conditional` [V, V, V], P(next | before last, last); `stationary` [V, V], the law of pairs."""

    conditional: np.ndarray
    stationary: np.ndarray

    @property
    def entropy_rate(self) -> float:
        """Nats per token."""
        entropy = -np.sum(self.conditional * np.log(self.conditional), axis=-1)
        return float(np.sum(self.stationary * entropy))


def teacher() -> Teacher:
    """The fixed teacher; the stationary law by power iteration."""
    a, b, c = np.random.default_rng(0).standard_normal((3, VOCABULARY, 16))
    hidden = (a[None, :] + a[None, :] * b[:, None]) / np.sqrt(32)  # [before last, last, 16]
    logits = 2.0 * hidden @ c.T - np.log(np.arange(1, VOCABULARY + 1))
    conditional = np.exp(logits - logits.max(-1, keepdims=True))
    conditional /= conditional.sum(-1, keepdims=True)
    pairs = np.full((VOCABULARY, VOCABULARY), VOCABULARY**-2.0)
    for _ in range(1000):
        moved = np.einsum("ab,abc->bc", pairs, conditional)
        change, pairs = np.abs(moved - pairs).sum(), moved
        if change < 1e-13:
            break
    return Teacher(conditional, pairs / pairs.sum())


def load(context: int, eval_windows: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """`train`: `chains` [4032, 256]. Splits: `tokens` [N, context + 1] int32 and `teacher` [N, context - 1, V] float32.

    `teacher[:, t - 1]` is the true law of `tokens[:, t + 1]` given `tokens[:, t - 1]` and `tokens[:, t]`: the first
    position of a window has no known pair. Windows of the held-out splits do not overlap.
    """
    law = teacher()
    chains = _generate(law)
    splits = {
        "validation": _windows(law, chains[:_HELD_OUT], context, eval_windows),
        "test": _windows(law, chains[_HELD_OUT : 2 * _HELD_OUT], context, eval_windows),
        "eval_train": _windows(law, chains[2 * _HELD_OUT : 3 * _HELD_OUT], context, eval_train),
    }
    return {"train": {"chains": chains[2 * _HELD_OUT :]}, **splits}


def _generate(law: Teacher) -> np.ndarray:
    """All chains advance in lockstep, by inversion: [4096, 256] int32, the first pair from the stationary law."""
    rng = np.random.default_rng(1)
    cumulative = np.cumsum(law.conditional, axis=-1)[..., :-1]  # without the last: an index cannot exceed V - 1
    first = rng.choice(VOCABULARY**2, size=_CHAINS, p=law.stationary.ravel())
    chains = np.empty((_LENGTH, _CHAINS), np.int32)
    chains[0], chains[1] = np.divmod(first, VOCABULARY)
    for t in range(2, _LENGTH):
        u = rng.random((_CHAINS, 1))
        chains[t] = np.sum(cumulative[chains[t - 2], chains[t - 1]] < u, axis=-1)
    return np.ascontiguousarray(chains.T)


def _windows(law: Teacher, chains: np.ndarray, context: int, count: int) -> dict[str, np.ndarray]:
    per_chain = _LENGTH // (context + 1)
    if count > len(chains) * per_chain:
        raise ValueError(f"{len(chains)} chains hold {len(chains) * per_chain} windows of {context + 1}, not {count}")
    tokens = chains[:, : per_chain * (context + 1)].reshape(-1, context + 1)[:count]
    return {"tokens": tokens, "teacher": law.conditional[tokens[:, :-2], tokens[:, 1:-1]].astype(np.float32)}
