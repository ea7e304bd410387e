"""From a name to an object: shipped name, path of a file, dotted path, or entry point.

Listing reads files with `ast` and imports nothing. Loading checks what can be checked of a file before it is traced
(PROTOCOL P3): its size, and that importing it leaves no thread, process or open file behind.
"""

import ast
import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pathlib
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from algoperf_lite import errors

if TYPE_CHECKING:
    from algoperf_lite import spec
    from algoperf_lite.submission import Submission

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE_BYTES = 64 * 1024
KINDS = ("workloads", "submissions", "benchmarks", "studies")


def configs() -> pathlib.Path:
    """The folder of shipped configurations: inside the package when installed from a wheel, beside it in a clone."""
    packaged = pathlib.Path(__file__).resolve().parent / "configs"
    return packaged if packaged.is_dir() else ROOT / "configs"


def folder(kind: str) -> pathlib.Path:
    """Where the shipped entries of one of `KINDS` lie."""
    return ROOT / kind if kind in ("workloads", "submissions") else configs() / kind


def names(kind: str) -> dict[str, pathlib.Path]:
    """Shipped names and their files, sorted; nothing is imported."""
    suffix = ".py" if kind in ("workloads", "submissions") else ".toml"
    return {p.stem: p for p in sorted(folder(kind).glob(f"[a-z]*{suffix}"))}


def describe_line(path: pathlib.Path) -> str:
    """First line of a file's docstring (Python), with the variants of a workload, or of its leading comment (TOML)."""
    text = path.read_text("utf-8")
    if path.suffix == ".toml":
        return text.lstrip("# \n").splitlines()[0] if text.startswith("#") else ""
    tree = ast.parse(text)
    doc = ast.get_docstring(tree) or ""
    variants = ", ".join(_variant_names(tree))
    return (doc.splitlines()[0] if doc else "") + (f" Variants: {variants}." if variants else "")


def _variant_names(tree: ast.Module) -> list[str]:
    """Keys of `VARIANTS = {...}` in a workload's file."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="VARIANTS")], value=ast.Dict(keys=keys)):
                return [str(key.value) for key in keys if isinstance(key, ast.Constant)]
    return []


# ------------------------------------------------------------------------------------------- submissions


def load_submission(name_or_path: str, *, name: str | None = None) -> "Submission":
    """Loads a submission by shipped name, path of a file, dotted path or entry point (`algoperf_lite.submissions`).

    A file that has AlgoPerf's functions in place of `build` is entered through the adapter (docs/algoperf_submissions.md);
    a search space other than the one beside it is named after a colon, `file.py:space.json`. Hyperparameters of other
    files may be fixed there, `muon:learning_rate=0.02:momentum=0.9` (`Submission.fixed`).

    Args:
      name_or_path: what to load.
      name: the entrant's name; default the file's stem.

    Raises:
      UserError: unknown name, unreadable or oversized file, no `build`, malformed SPACE or DEFAULTS.
    """
    from algoperf_lite import guard, submission

    file, values = split_values(name_or_path)
    source, space_file = split_space(file)
    path = _locate("submissions", source)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise errors.UserError(
            f"submission {path}: {size} bytes; a submission file may have at most {MAX_FILE_BYTES} (PROTOCOL P3)"
        )
    if _is_algoperf(path):
        from algoperf_lite.adapters.algoperf import entry

        if values:
            raise errors.UserError(
                f"submission {path} is an AlgoPerf file: its hyperparameters come from a search space, {path}:space.json"
            )
        return entry.load(str(name_or_path), path, space_file, name or path.stem)
    if space_file is not None:
        raise errors.UserError(f"submission {path} has its search space in SPACE; only AlgoPerf's files take {space_file}")
    with guard.nothing_left_behind(f"importing submission {path}"):
        module = _import(path, "submission")
    build = getattr(module, "build", None)
    if not callable(build):
        raise errors.UserError(
            f"submission {path} has no function build(problem, hparams); "
            "see docs/submission.md, or copy submissions/adamw.py"
        )
    try:
        inspect.signature(build).bind(None, None)
    except TypeError as e:
        raise errors.UserError(f"submission {path}: build must take (problem, hparams), and nothing else: {e}") from e
    space, defaults = getattr(module, "SPACE", None), getattr(module, "DEFAULTS", None)
    _check_point_names(path, space, defaults)
    eval_params = getattr(module, "eval_params", None)
    if eval_params is not None and not callable(eval_params):
        raise errors.UserError(f"submission {path}: eval_params must be a function (opt_state, params) -> params")
    extra = tuple(getattr(module, "EXTRA_ARGS", ()))
    for arg in extra:
        if arg not in submission.EXTRA_ARGS:
            raise errors.unknown(f"extra argument in EXTRA_ARGS of {path}", arg, submission.EXTRA_ARGS)
    period = getattr(module, "PERIOD", 1)
    if not isinstance(period, int) or period < 1:
        raise errors.UserError(f"submission {path}: PERIOD must be a whole number of steps >= 1, got {period!r}")
    found = submission.Submission(
        name=name or path.stem,
        source=str(name_or_path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        doc=(module.__doc__ or "").strip(),
        SPACE=space,
        DEFAULTS=defaults,
        eval_params=eval_params,
        EXTRA_ARGS=extra,
        PERIOD=period,
        author_build=build,
    )
    return found.fixed(values) if values else found


def _check_point_names(path: pathlib.Path, space: Any, defaults: Any) -> None:
    from algoperf_lite import spec
    from algoperf_lite.submission import plain_name

    if defaults is not None:
        if not isinstance(defaults, dict) or not all(isinstance(k, str) for k in defaults):
            raise errors.UserError(f"submission {path}: DEFAULTS must be a dict from names to values")
        for name in defaults:
            if name.startswith("one_minus_"):
                raise errors.UserError(
                    f"submission {path}: DEFAULTS has {name!r}; DEFAULTS and build know {plain_name(name)!r} only"
                )
        for name, value in defaults.items():
            if value != value:
                raise errors.UserError(f"submission {path}: DEFAULTS has {name!r} = {value}; give it a number")
    if space is None:
        return
    for point in space if isinstance(space, list) else [space]:
        if not isinstance(point, Mapping):
            raise errors.UserError(
                f"submission {path}: SPACE must be a dict of spec.log_uniform / uniform / choice, or a list of points"
            )
        for name, dimension in point.items():
            if isinstance(space, Mapping) and not isinstance(dimension, (spec.Range, spec.Choice)):
                raise errors.UserError(
                    f"submission {path}: SPACE[{name!r}] is {dimension!r}; "
                    "accepted: spec.log_uniform(lo, hi), spec.uniform(lo, hi), spec.choice(values)"
                )
            if defaults is not None and plain_name(name) not in {*defaults, *spec.RESERVED}:
                raise errors.UserError(
                    f"submission {path}: SPACE has {name!r}, DEFAULTS has no {plain_name(name)!r} "
                    f"(it has: {', '.join(defaults) or 'nothing'}); give it a value there, or mend the name"
                )


# --------------------------------------------------------------------------------------------- workloads


def load_workload(name_or_path: str, **arguments: Any) -> "spec.Workload":
    """Loads a workload by shipped name, path, dotted path or entry point (`algoperf_lite.workloads`).

    Args:
      name_or_path: what to load; the file's `build(**arguments)` returns the `spec.Workload`. `NAME:VARIANT` is a held-out
        variant: an entry of the file's `VARIANTS`, with targets of its own.
      arguments: of that function, such as width and depth.

    Raises:
      UserError: unknown name or variant, or a file without such a function.
    """
    from algoperf_lite import spec

    source, variant = split_variant(name_or_path)
    path = _locate("workloads", source)
    module = _import(path, "workload")
    build = getattr(module, "build", None)
    if not callable(build):
        raise errors.UserError(f"workload {path} has no function build(...) -> spec.Workload; see docs/workload.md")
    known = _variants(module, path)
    if variant and variant not in known:
        raise errors.unknown(f"variant of workload {source}", variant, known)
    arguments = {**known.get(variant, {}), **arguments}
    try:
        workload = build(**arguments)
        if not isinstance(workload, spec.Workload):
            raise errors.UserError(
                f"workload {path}: build returned {type(workload).__name__}, accepted is a spec.Workload"
            )
        if variant:
            name = f"{workload.name}_{variant}"
            own = spec.recorded(str(path), name, version=workload.version)
            workload = dataclasses.replace(workload, name=name, held_out_of=workload.name, **own)
    except errors.UserError:
        raise
    except Exception as e:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        what = f"workload {errors.where_in(path, e)}: build({given}) failed"
        raise errors.UserError(f"{what}: {type(e).__name__}: {e}") from e
    return workload


def variants(name_or_path: str) -> dict[str, dict[str, Any]]:
    """The held-out variants of a workload: the name that `load_workload` takes -> arguments of the file's `build`."""
    source, _ = split_variant(name_or_path)
    path = _locate("workloads", source)
    known = _variants(_import(path, "workload"), path)
    return {f"{source}:{variant}": dict(arguments) for variant, arguments in known.items()}


def _variants(module: ModuleType, path: pathlib.Path) -> dict[str, dict[str, Any]]:
    known = getattr(module, "VARIANTS", {})
    if not isinstance(known, dict) or not all(isinstance(arguments, dict) for arguments in known.values()):
        raise errors.UserError(
            f"workload {path}: VARIANTS is {known!r}; accepted: a dict from names to dicts of arguments of build, such as "
            '{"wide": {"width": 64}}'
        )
    for name in known:
        if not isinstance(name, str) or not name.isidentifier():
            raise errors.UserError(f"workload {path}: VARIANTS has the name {name!r}; accepted: letters, digits and _")
    return known


def is_workload(name_or_path: str) -> bool:
    """Whether a name is that of a shipped workload or its variant, or of a file that speaks of `spec.Workload`."""
    source, variant = split_variant(name_or_path)
    if source in names("workloads"):
        return True
    path = pathlib.Path(source)
    if path.suffix != ".py" or not path.is_file():
        return bool(variant)
    return "spec.Workload(" in path.read_text("utf-8", "replace")


def target_records(name_or_path: str) -> pathlib.Path:
    """The folder of target records beside a workload's file."""
    return _locate("workloads", split_variant(name_or_path)[0]).parent / "targets"


def split_variant(name_or_path: str) -> tuple[str, str]:
    """`digits_vit:glu` -> (`digits_vit`, `glu`); an empty variant where there is none."""
    source, _, variant = str(name_or_path).rpartition(":")
    return (source, variant) if source and variant.isidentifier() else (str(name_or_path), "")


# ------------------------------------------------------------------------------------------------- files


def file_sha256(kind: str, name_or_path: str) -> str:
    """Hash of the file behind a name; of an AlgoPerf submission, of all that it consists of."""
    source, values = split_values(name_or_path)
    source, space_file = split_space(source)
    path = _locate(kind, split_variant(source)[0])
    if kind == "submissions" and _is_algoperf(path):
        from algoperf_lite.adapters.algoperf import file

        return file.read(path, space_file).sha256
    return load_submission(name_or_path).sha256 if values else hashlib.sha256(path.read_bytes()).hexdigest()


def split_values(source: str) -> tuple[str, dict[str, str]]:
    """`muon:learning_rate=0.02` -> (`muon`, {"learning_rate": "0.02"}): hyperparameters fixed from outside of the file."""
    rest, values = str(source), []
    while match := re.fullmatch(r"(.+):([A-Za-z_]\w*)=([^:/]*)", rest):
        rest, *value = match.groups()
        values.insert(0, value)
    if len(dict(values)) < len(values):
        raise errors.UserError(f"submission {source}: a hyperparameter is given twice; remove one")
    return rest, dict(values)


def split_space(source: str) -> tuple[str, pathlib.Path | None]:
    """`submission.py:space.json` -> (`submission.py`, search space given with it); None where there is none."""
    path, colon, given = str(source).rpartition(":")
    if colon and given.endswith(".json"):
        return path, pathlib.Path(given).expanduser()
    return str(source), None


def _is_algoperf(path: pathlib.Path) -> bool:
    """Whether a file has AlgoPerf's functions; the shipped ones have not."""
    if path.parent == folder("submissions"):
        return False
    from algoperf_lite.adapters.algoperf import locate

    return locate.is_submission(path)


def _locate(kind: str, name_or_path: str) -> pathlib.Path:
    """The file behind a name; a path wins where it looks like one."""
    what = kind.removesuffix("s")
    text = str(name_or_path)
    if text.endswith(".py") or "/" in text:
        path = pathlib.Path(text).expanduser()
        if path.is_dir():
            raise errors.UserError(f"{what} {text} is a folder; a {what} is one Python file")
        if not path.is_file():
            near = _nearest_file(path)
            raise errors.UserError(f"{what} file not found: {text}" + (f"; did you mean {near}?" if near else ""))
        return path
    shipped = names(kind)
    if text in shipped:
        return shipped[text]
    for point in importlib.metadata.entry_points(group=f"algoperf_lite.{kind}"):
        if point.name == text:
            return _module_file(point.value.partition(":")[0])
    if "." in text and all(part.isidentifier() for part in text.split(".")) and not pathlib.Path(text).exists():
        return _module_file(text)
    hint = f"a file is named by its path, such as ./{text}.py" if text.isidentifier() else "a file's name ends in .py"
    if kind == "submissions" and re.fullmatch(r"[-+.0-9][-+.0-9eE]*", text):
        hint = "hyperparameters are fixed after a colon, such as mine=muon:learning_rate=0.02"
    raise errors.unknown(what, text, shipped, hint)


def _nearest_file(path: pathlib.Path) -> pathlib.Path | None:
    import difflib

    if not path.parent.is_dir():
        return None
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
    return path.parent / near[0] if near else None


def _module_file(dotted: str) -> pathlib.Path:
    try:
        found = importlib.util.find_spec(dotted)
    except ModuleNotFoundError:
        found = None
    if found is None or not found.origin:
        raise errors.UserError(f"no module {dotted!r} can be imported; accepted: a shipped name, a path, a dotted path")
    return pathlib.Path(found.origin)


def _import(path: pathlib.Path, what: str) -> ModuleType:
    """Executes a file as a fresh module; the user's own mistakes come back as one message with file and line."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    module_spec = importlib.util.spec_from_file_location(f"_algoperf_lite_{what}_{path.stem}_{digest}", path)
    if module_spec is None or module_spec.loader is None:
        raise errors.UserError(f"{what} file {path} is not a Python file (.py)")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses and pickling look their module up
    try:
        module_spec.loader.exec_module(module)
    except errors.UserError:
        raise
    except SyntaxError as e:  # of the file, or of one that it imports
        raise errors.UserError(f"{what} {e.filename or path}:{e.lineno}: not valid Python: {e.msg}") from e
    except (Exception, SystemExit) as e:
        from algoperf_lite.adapters.algoperf import locate

        said, hint = f"{what} {errors.where_in(path, e)}: import failed: {type(e).__name__}: {e}", ""
        if isinstance(e, ModuleNotFoundError) and str(e.name).split(".")[0] in locate.PACKAGES:
            hint = (
                "\n  AlgoPerf's modules are there for files with AlgoPerf's functions; this one lacks "
                f"{' or '.join(locate.FUNCTIONS[:2])}, or has a `build`"
            )
        raise errors.UserError(said + hint) from e
    return module
