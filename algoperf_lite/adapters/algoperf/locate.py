"""Where the files of a submission lie, and what can be told of them without running anything.

A submission file may import what lies beside it (relatively or by a plain name) and modules of the tree that its author
wrote it in (`algorithms.x.y`, `submissions.<tree>.<name>.module`). The same rules serve the import system (`scope`) and
the static reading here: which convention the file follows, and the hash of all that it consists of.
"""

import ast
import contextlib
import hashlib
import importlib.machinery
import pathlib
import sys
from collections.abc import Iterator

from algoperf_lite import errors

FUNCTIONS = ("init_optimizer_state", "update_params", "data_selection", "get_batch_size")
"""What makes a file a submission of AlgoPerf's; the last two may be missing."""

PACKAGES = ("algoperf", "algorithmic_efficiency")
"""AlgoPerf's package, under its name and the old one."""

ROOTS = (
    "algorithms",
    "baselines",
    "previous_leaderboards",
    "prize_qualification_baselines",
    "qualification_baselines",
    "reference_algorithms",
    "reference_submissions",
    "submission_folder",
    "submissions",
)
"""Top-level folders of AlgoPerf's repositories, which files name in absolute imports."""


def is_submission(path: pathlib.Path) -> bool:
    """Whether a file has AlgoPerf's functions, defined or imported, at its top level, and no `build`. Nothing is imported.

    A file that is not valid Python is told by the lines that define them.
    """
    text = path.read_text("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return all(f"\ndef {name}(" in f"\n{text}" for name in FUNCTIONS[:2])
    names = set(_names(tree, path.absolute(), set()))
    return set(FUNCTIONS[:2]) <= names and "build" not in names


def _names(tree: ast.Module, path: pathlib.Path, seen: set[pathlib.Path]) -> Iterator[str]:
    """Names that the top level of a module binds; those of `import *` where its module lies beside the file."""
    seen.add(path)
    for node in tree.body:
        match node:
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")], level=level):
                folder = path.parents[min(max(level, 1), len(path.parents)) - 1]
                at = _at(folder.joinpath(*module.split(".")))
                if at is not None and at.suffix == ".py" and at not in seen:
                    with contextlib.suppress(SyntaxError, ValueError):
                        yield from _names(ast.parse(at.read_bytes()), at, seen)
            case ast.FunctionDef(name=name):
                yield name
            case ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file or folder that an absolute import means to a submission in `folder`; None where that is not its own.

    In this order: beside the file; under a folder above it, for the names in `ROOTS`; and for those, where the tree that
    they name exists nowhere, the last part beside the file.
    """
    parts = name.split(".")
    if (found := _at(folder.joinpath(*parts))) is not None:
        return found
    if parts[0] not in ROOTS:
        return None
    for above in folder.parents:
        if (found := _at(above.joinpath(*parts))) is not None:
            return found
    return _at(folder / parts[-1]) if len(parts) > 1 else None


def _at(path: pathlib.Path) -> pathlib.Path | None:
    """A module, a package, or a folder that holds Python files."""
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return path if path.is_dir() and next(path.rglob("*.py"), None) is not None else None


def sources(path: pathlib.Path) -> dict[pathlib.Path, ast.Module]:
    """The file and all files of its own that it imports, directly or not, with their syntax trees.

    Raises:
      UserError: one of them is not valid Python.
    """
    folder, found, waiting = path.parent, {}, [path]
    while waiting:
        file = waiting.pop()
        if file in found or file.suffix != ".py":
            continue
        try:
            found[file] = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as e:
            line, said = (e.lineno, e.msg) if isinstance(e, SyntaxError) else (1, e)
            raise errors.UserError(f"submission {file}:{line}: not valid Python: {said}") from e
        waiting += [at for at in _imported(found[file], file, folder) if at is not None]
    return found


def _imported(tree: ast.Module, file: pathlib.Path, folder: pathlib.Path) -> Iterator[pathlib.Path | None]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_own(folder, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            yield _at(base) if node.module else None
            yield from (_at(base / alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield _own(folder, node.module)
            yield from (_own(folder, f"{node.module}.{alias.name}") for alias in node.names)


def _own(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """As `find`, where no installed package has the name."""
    top = name.split(".")[0]
    installed = top in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(top) is not None
    return None if installed and top not in ROOTS else find(folder, name)


def uses_pmap(trees: dict[pathlib.Path, ast.Module]) -> bool:
    """Whether a submission follows the convention of v0.5, in which every array has a leading axis of devices."""
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        match node:
            case ast.Attribute(value=ast.Name(id="jax"), attr="pmap"):
                return True
            case ast.ImportFrom(module="jax", names=names) if any(alias.name == "pmap" for alias in names):
                return True
    return False


def mismatched_pmaps(trees: dict[pathlib.Path, ast.Module]) -> Iterator[tuple[str, int, int]]:
    """(function, its arguments, entries of in_axes) where a function decorated with jax.pmap has not as many of both."""
    functions = (n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    for function in functions:
        for decorator in function.decorator_list:
            for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if keyword.arg == "in_axes" and isinstance(keyword.value, ast.Tuple):
                    arguments, axes = len(function.args.args), len(keyword.value.elts)
                    if arguments != axes:
                        yield function.name, arguments, axes


def uses_torch(tree: ast.Module) -> bool:
    """Whether a file is a PyTorch submission: it imports torch, and nothing of JAX. (Some JAX files import torch, too.)"""
    packages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            packages.add((node.module or "").split(".")[0])
    return "torch" in packages and packages.isdisjoint({"jax", "jaxlib", "flax", "optax"})


def sha256(files: list[pathlib.Path]) -> str:
    """Hash of one file, or of several by their contents, in the order in which they are given.

    Raises:
      UserError: one cannot be read.
    """
    try:
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    except OSError as e:
        raise errors.UserError(f"{e.filename} cannot be read: {e.strerror}") from e
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
