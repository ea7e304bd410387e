"""Trees that have to be of one structure, or one message that names the leaf."""

import jax

from algoperf_lite import errors, spec


def check_shapes(what: str, want: spec.PyTree, got: spec.PyTree, *, types: bool = True) -> None:
    """Compares structure, shapes and types of two trees of arrays or of `jax.ShapeDtypeStruct`.

    Args:
      what: begins the message, in the plural.
      types: whether types count.

    Raises:
      UserError: they differ; the first leaf that does is named.
    """
    if jax.tree.structure(want) != jax.tree.structure(got):
        raise errors.UserError(
            f"{what} have another structure\n  before: {jax.tree.structure(want)}\n  after:  {jax.tree.structure(got)}"
        )
    for (path, w), g in zip(jax.tree.leaves_with_path(want), jax.tree.leaves(got), strict=True):
        w, g = (x if hasattr(x, "shape") else jax.typeof(x) for x in (w, g))
        if w.shape != g.shape or (types and w.dtype != g.dtype):
            raise errors.UserError(
                f"{what}: leaf {jax.tree_util.keystr(path)} was {w.dtype}{list(w.shape)}, became {g.dtype}{list(g.shape)}"
            )
