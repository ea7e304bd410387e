"""A loaded submission: what the engine calls of a file, and its points. Loading it is `registry.load_submission`."""

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import optax

from algoperf_lite import errors, precision, search, spec
from algoperf_lite.shapes import check_shapes

EXTRA_ARGS = ("grad_fn", "hvp_fn", "key", "micro_grad_fn")
"""Extra arguments of `update` that a submission may ask for."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """A loaded submission. `build` and `eval_params` are what the engine calls; the rest is data.

    Attributes:
      name, source, sha256, doc: identity; `source` is what it was loaded by.
      SPACE: mapping of search dimensions, list of fixed points, or None.
      DEFAULTS: the workload-agnostic point, or None.
      eval_params: function (opt_state, params) -> params, or None.
      EXTRA_ARGS: further extra arguments of `update` it asks for, of `EXTRA_ARGS` above.
      PERIOD: steps after which its work per step repeats (P4).
    """

    name: str
    source: str
    sha256: str
    doc: str
    SPACE: spec.Space | list[dict[str, Any]] | None
    DEFAULTS: dict[str, Any] | None
    eval_params: Callable | None
    EXTRA_ARGS: tuple[str, ...]
    PERIOD: int
    author_build: Callable

    driver: ClassVar[str] = "scan"  # how its trials run (P6)

    def points(self, ruleset: str, board_seed: int, studies: int) -> list[list[dict[str, Any]]]:
        """Complete hyperparameters by study and trial (`search.points`)."""
        return search.points(self, ruleset, board_seed, studies)

    def about(self) -> dict[str, Any]:
        """What `describe` shows."""
        return {
            "submission": self.name,
            "about": self.doc,
            "sha256": self.sha256,
            "DEFAULTS": self.DEFAULTS or "none: the self-tuning ruleset refuses it",
            "SPACE": self.SPACE or "none: the external ruleset runs DEFAULTS, marked untuned",
            "eval_params": "its own" if self.eval_params else "the trained parameters",
            "EXTRA_ARGS": list(self.EXTRA_ARGS),
            "PERIOD": self.PERIOD,
        }

    def resolve(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """A complete point: DEFAULTS filled in, `one_minus_x` turned into `x`, reserved names kept.

        Raises:
          UserError: a name the submission does not know.
        """
        point = dict(self.DEFAULTS or {})
        known = {*point, *map(plain_name, self._drawn()), *spec.RESERVED}
        for name, value in hparams.items():
            if plain_name(name) not in known:
                raise errors.unknown(f"hyperparameter of submission {self.name}", name, known)
            point[plain_name(name)] = 1 - value if name.startswith("one_minus_") else value
        return point

    def fixed(self, texts: Mapping[str, str]) -> "Submission":
        """The same method with hyperparameters fixed from outside of its file, as `registry.load_submission` names them.

        They change in DEFAULTS, and SPACE has one value for them, so that all else is drawn as it was. It is another
        entrant than the file alone: its hash is that of the file and the values.

        Args:
          texts: values as texts, by names as `resolve` takes them.

        Raises:
          UserError: a name the submission does not know or that is there twice, or a text that is no value of the type.
        """
        defaults, values = self.DEFAULTS or {}, {}
        known = {*defaults, *map(plain_name, self._drawn()), *(spec.RESERVED if self.DEFAULTS is not None else ())}
        for name, text in texts.items():
            plain = plain_name(name)
            if plain not in known:
                raise errors.unknown(f"hyperparameter of submission {self.name}", name, known)
            if plain in values:
                raise errors.UserError(f"submission {self.name}: {plain} is given twice; remove one")
            value = self._value(name, text)
            values[plain] = value if name == plain else 1 - value

        def held(name: str, dimension: Any) -> Any:
            plain = plain_name(name)
            if plain not in values:
                return dimension
            value = values[plain] if name == plain else 1 - values[plain]
            static = isinstance(dimension, spec.Choice) and dimension.static
            return value if isinstance(self.SPACE, list) else spec.choice([value], static=static)

        space = self.SPACE
        if isinstance(space, list):
            space = [{name: held(name, value) for name, value in point.items()} for point in space]
        elif space is not None:
            space = {name: held(name, dimension) for name, dimension in space.items()}
        digest = hashlib.sha256(f"{self.sha256} {json.dumps(values, sort_keys=True)}".encode()).hexdigest()
        defaults = None if self.DEFAULTS is None else {**self.DEFAULTS, **values}
        return dataclasses.replace(self, sha256=digest, SPACE=space, DEFAULTS=defaults)

    def _drawn(self) -> dict[str, Any]:
        """Dimensions of SPACE; of a list, values of the first point that has the name."""
        points = self.SPACE if isinstance(self.SPACE, list) else [self.SPACE or {}]
        return {name: value for point in reversed(points) for name, value in point.items()}

    def _value(self, name: str, text: str) -> Any:
        """A text in the type of what it stands for."""
        like, drawn = (self.DEFAULTS or {}).get(name), self._drawn().get(name)
        if isinstance(drawn, spec.Range):
            like = 0.0
        elif like is None:
            like = drawn.values[0] if isinstance(drawn, spec.Choice) else 0.0 if drawn is None else drawn
        try:
            value = {"true": True, "false": False}[text.lower()] if isinstance(like, bool) else type(like)(text)
            if isinstance(like, float) and not math.isfinite(value):
                raise ValueError(text)
        except (KeyError, ValueError, TypeError) as e:
            kind = {float: "a finite number", int: "a whole number", bool: "true or false"}.get(type(like), "nothing")
            raise errors.UserError(f"submission {self.name}: {name} = {text!r}; accepted: {kind}, such as {like!r}") from e
        return value

    def build(self, problem: spec.Problem, hparams: Mapping[str, Any]):
        """The author's `build` on a complete point, run in float32 or better (`precision.at_least_float32`).

        Raises:
          UserError: unknown hyperparameter, or a return value that is no gradient transformation.
        """
        point = {k: v for k, v in self.resolve(hparams).items() if k not in spec.RESERVED}
        tx = self.author_build(problem, point)
        if not isinstance(tx, optax.GradientTransformation):
            raise errors.UserError(
                f"submission {self.name} ({self.source}): build returned {type(tx).__name__}, "
                "accepted is an optax.GradientTransformation (init and update)"
            )
        return precision.at_least_float32(_checked(tx, f"submission {self.name} ({self.source})"))

    def static(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a complete point that changes the program: declared static, or not a float."""
        space = self.SPACE if isinstance(self.SPACE, Mapping) else {}
        traced = {plain_name(n) for n, d in space.items() if not (isinstance(d, spec.Choice) and d.static)}
        declared = {plain_name(n) for n, d in space.items() if isinstance(d, spec.Choice) and d.static}
        return {
            name: value
            for name, value in point.items()
            if name in declared or not (isinstance(value, float) or name in traced or name in spec.RESERVED)
        }


def _checked(tx: optax.GradientTransformation, who: str) -> optax.GradientTransformationExtraArgs:
    """`tx`, with one message for what it may not take or return; broadcasting would hide a good part of it."""
    for function, arguments in ((tx.init, ("params",)), (tx.update, ("updates", "state", "params"))):
        name = "init" if function is tx.init else "update"
        try:
            inspect.signature(function).bind_partial(*arguments)  # extra arguments come besides
        except ValueError:  # of a function that is not written in Python
            pass
        except TypeError as e:
            raise errors.UserError(f"{who}: {name} must take ({', '.join(arguments)}): {e}") from e
    inner = optax.with_extra_args_support(tx)

    def update(updates, state, params=None, **extra_args):
        found = inner.update(updates, state, params, **extra_args)
        if not isinstance(found, tuple | list) or len(found) != 2:
            kind = f"{type(found).__name__} of {len(found)}" if isinstance(found, tuple | list) else type(found).__name__
            raise errors.UserError(f"{who}: update returned {kind}, accepted is (updates, state)")
        check_shapes(f"{who}: updates", updates, found[0], types=False)
        return found

    return optax.GradientTransformationExtraArgs(inner.init, update)  # pyright: ignore[reportArgumentType]: typed as the parent class


def plain_name(name: str) -> str:
    """`one_minus_b1` -> `b1`, as `build` and DEFAULTS know it."""
    return name.removeprefix("one_minus_")
