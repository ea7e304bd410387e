"""A generated click log whose click probabilities are known exactly.

Rows have categorical fields with Zipf-distributed values and four dense features. The logit adds a bias and a linear
answer to the dense features per value, signed products of latent vectors of pairs of fields (what a factorisation
machine or DLRM can represent), and a small network of the dense features. Because the true logit of every held-out row
is known, a model is judged by its mean KL divergence from the truth: excess nats without label noise.
"""

import dataclasses
import functools
import math

import numpy as np

DENSE = 4
_LATENT, _HIDDEN = 4, 8
_ZIPF = 1.1
_CHUNK = 1 << 16  # rows made at once: fits the cache, and never changes a number
_SCALE, _SHIFT = 2.0, -1.5


@dataclasses.dataclass(frozen=True)
class Teacher:
    """The fixed law of a log; row v of a table belongs to one value of one field (`offsets` says where a field begins).

    Attributes:
      fields: number of values of each field.
      bias [V], answer [V, 4] (to the dense features), latent [V, 4]: of every value.
      signs [F, F]: upper triangle, -1, 0 or 1 for each pair of fields.
      linear [4], hidden [4, 8], top [8]: the part of the dense features alone.
      centre, scale: of the raw logit, from 20,000 rows.
    """

    fields: tuple[int, ...]
    bias: np.ndarray
    answer: np.ndarray
    latent: np.ndarray
    signs: np.ndarray
    linear: np.ndarray
    hidden: np.ndarray
    top: np.ndarray
    centre: float = 0.0
    scale: float = 1.0

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """First row of each field in the tables."""
        return np.cumsum((0, *self.fields[:-1]))

    @functools.cached_property
    def cumulative(self) -> list[np.ndarray]:
        """For each field the distribution function of its values, without the last: an index cannot exceed the field."""
        found = []
        for count in self.fields:
            share = np.arange(1, count + 1) ** -_ZIPF
            found.append((np.cumsum(share) / share.sum())[:-1].astype(np.float32))
        return found

    def raw(self, categories: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """Logits before centring and scaling, of categories [N, F] and dense features [N, 4] -> [N] float32."""
        rows = (categories.astype(np.int32) + self.offsets).T  # [F, N]
        logit = np.tanh(dense @ self.hidden) @ self.top + dense @ self.linear
        logit += self.bias[rows].sum(axis=0) + np.einsum("nd,nd->n", self.answer[rows].sum(axis=0), dense)
        latent = self.latent[rows]  # [F, N, 4]
        partners = (self.signs @ latent.reshape(len(latent), -1)).reshape(latent.shape)
        return logit + np.float32(0.7) * np.einsum("fnd,fnd->n", latent, partners)

    def logit(self, categories: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """True logits of a click, [N] float32."""
        return ((self.raw(categories, dense) - self.centre) / self.scale * _SCALE + _SHIFT).astype(np.float32)


@functools.cache
def teacher(fields: tuple[int, ...]) -> Teacher:
    """The fixed teacher of a log with these fields."""
    rng = np.random.default_rng(123)
    values, count = sum(fields), len(fields)
    pairs = np.triu(np.where(rng.random((count, count)) < 0.5, rng.choice([-1, 1], (count, count)), 0), 1)
    tables = (
        0.5 * rng.standard_normal(values),
        0.25 * rng.standard_normal((values, DENSE)),
        0.5 * rng.standard_normal((values, _LATENT)),
        pairs,
        0.5 * rng.standard_normal(DENSE),
        rng.standard_normal((DENSE, _HIDDEN)),
        rng.standard_normal(_HIDDEN) / math.sqrt(_HIDDEN),
    )
    bias, answer, latent, signs, linear, hidden, top = (table.astype(np.float32) for table in tables)
    rough = Teacher(fields, bias, answer, latent, signs, linear, hidden, top)
    raw = rough.raw(*_rows(rough, np.random.default_rng(7), 20_000)).astype(np.float64)
    return dataclasses.replace(rough, centre=float(raw.mean()), scale=float(raw.std()))


def _rows(law: Teacher, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Categories [count, F] (the smallest unsigned type that holds them) and dense features [count, 4] float32."""
    uniform = rng.random((len(law.fields), count), np.float32)
    columns = [np.searchsorted(table, u) for table, u in zip(law.cumulative, uniform, strict=True)]
    kind = np.min_scalar_type(max(law.fields) - 1)
    return np.stack(columns, axis=1).astype(kind), rng.standard_normal((count, DENSE), np.float32)


def rows(law: Teacher, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` rows: `categories` [N, F], `dense` [N, 4] float32, `label` [N] uint8 and `logit` [N] float32, the true one.

    Made in chunks with a generator each, so a longer log begins with the same chunks.
    """
    parts = []
    for chunk, first in enumerate(range(0, count, _CHUNK)):
        rng = np.random.default_rng((seed, chunk))
        categories, dense = _rows(law, rng, _CHUNK)
        logit = law.logit(categories, dense)
        label = (rng.random(_CHUNK, np.float32) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
        parts.append([leaf[: count - first] for leaf in (categories, dense, label, logit)])
    names = ("categories", "dense", "label", "logit")
    return {name: np.concatenate(leaves) for name, *leaves in zip(names, *parts, strict=True)}


def load(fields: tuple[int, ...], train: int, held_out: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits as in `rows`; `train` lacks the true logit, and `eval_train` is its beginning."""
    law = teacher(fields)
    log = rows(law, train, seed=11)
    beginning = {name: leaf[:eval_train] for name, leaf in log.items()}
    del log["logit"]
    return {
        "train": log,
        "eval_train": beginning,
        "validation": rows(law, held_out, seed=12),
        "test": rows(law, held_out, seed=13),
    }


def bayes(logit: np.ndarray) -> float:
    """Mean entropy in nats of clicks with these true logits: the log loss of the perfect answer."""
    logit = logit.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, logit) - logit / (1.0 + np.exp(-logit))))
