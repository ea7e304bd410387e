"""Benchmark files: TOML to a frozen struct, or one error that names file, line and mend."""

import itertools
import math
import pathlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from algoperf_lite import errors, registry
from algoperf_lite.records import Struct

LOGS = "algoperf-logs"
DIRECTIONS = {  # of AlgoPerf's metrics
    **dict.fromkeys(("loss", "wer", "ppl", "ce_loss", "ctc_loss", "error_rate", "l1_loss"), "min"),
    **dict.fromkeys(("accuracy", "ssim", "bleu", "mean_average_precision"), "max"),
}
ACCEPTED = {
    "name": "a text",
    "version": "a whole number",
    "ruleset": "'external' or 'self'",
    "workloads": "a list of names or paths, such as ['digits_vit']",
    "submissions": "a list of names or name=path, such as ['nadamw', 'mine=my_opt.py']",
    "seed": "a whole number",
    "studies": "a whole number, 1 or more",
    "run_past": "true or false",
    "paired": "true or false",
    "held_outs": "true or false",
    "smoke": "true or false",
    "trials": "a whole number, 1 or more",
    "budget_factor": "a number",
    "direction": "'min' or 'max'",
    "target": "a number",
    "budget_s": "seconds",
    "eval_period_s": "seconds",
    "reference_s": "seconds, 0 where unknown",
}
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class EntrantConfig(Struct, frozen=True, kw_only=True):
    """`[[entrant]]` of a benchmark file."""

    name: str
    source: str  # shipped name, path relative to the benchmark file, dotted path


class BenchmarkConfig(Struct, frozen=True, kw_only=True):
    """A benchmark file as written, before anything is resolved."""

    name: str
    version: int
    ruleset: Literal["external", "self"]
    workloads: list[str]
    submissions: tuple[str, ...] = ()  # `name` or `name=source`
    entrant: tuple[EntrantConfig, ...] = ()
    seed: int = 0
    studies: int = 3
    run_past: bool = False
    paired: bool = False
    held_outs: bool = False  # one held-out variant of each family, drawn by the board's seed (P11)
    smoke: bool = False  # a few steps per trial, never ranked


class LogWorkload(Struct, frozen=True, kw_only=True):
    """`[[workload]]` of a board of AlgoPerf's logs. `reference_s`: frozen time of the reference (P15), 0 where unknown."""

    name: str
    metric: str
    direction: Literal["min", "max"]
    target: float
    budget_s: Positive
    eval_period_s: Positive
    held_out_of: str | None = None
    reference_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class LogBenchmark(Struct, frozen=True, kw_only=True):
    """A board of AlgoPerf's own logs: it can be scored, not run."""

    kind: Literal["algoperf-logs"]
    name: str
    version: int
    ruleset: Literal["external", "self"]
    studies: Count
    trials: Count  # per study
    budget_factor: Positive
    workload: list[LogWorkload]
    reference: str | None = None  # submission that speed-ups are against


def load_benchmark(name_or_path: str) -> BenchmarkConfig:
    """Reads a benchmark by shipped name or path.

    Raises:
      UserError: unknown name, broken TOML, unknown key, wrong type, no workload, entrants without unique names.
    """
    path, text, raw = _parse(name_or_path)
    if raw.get("kind") == LOGS:
        raise errors.UserError(
            f"{name_or_path} is a board of AlgoPerf's own logs: it can be scored, not run\n"
            f"  algoperf-lite score LOGDIR --benchmark {name_or_path}"
        )
    config = convert(raw, BenchmarkConfig, path, text)
    _check_name("benchmark", config.name, f"{path}{_line(text, 'name')}: ")
    if not config.workloads:
        raise errors.UserError(f"{path}: workloads is empty; a benchmark needs at least one")
    if config.studies < 1:
        raise errors.UserError(f"{path}{_line(text, 'studies')}: studies is {config.studies}, accepted: 1 or more")
    if not 0 <= config.seed < 2**31:
        raise errors.UserError(f"{path}{_line(text, 'seed')}: seed is {config.seed}, accepted: 0 to {2**31 - 1}")
    base = path.parent
    return msgspec.structs.replace(
        config,
        workloads=[_relative(base, w) for w in config.workloads],
        submissions=tuple(
            _relative(base, source) if name is None else f"{name}={_relative(base, source)}"
            for name, source in map(_split_item, config.submissions)
        ),
        entrant=tuple(msgspec.structs.replace(e, source=_relative(base, e.source)) for e in config.entrant),
    )


def load_logs(name_or_path: str) -> LogBenchmark:
    """Reads a board of AlgoPerf's logs by shipped name or path.

    Raises:
      UserError: as `load_benchmark`; a benchmark of our own; a held-out workload without its base.
    """
    path, text, raw = _parse(name_or_path)
    if raw.get("kind") != LOGS:
        raise errors.UserError(
            f'{name_or_path} is no board of AlgoPerf\'s logs: it lacks `kind = "{LOGS}"`. A run directory holds its own '
            "benchmark and needs no --benchmark\n"
            f"  boards of logs: {', '.join(log_boards())}"
        )
    tables = raw.get("workload", [])
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        raise errors.UserError(
            f"{path}{_line(text, 'workload')}: workload is {tables!r}, accepted: tables, [[workload]] each"
        )
    config = convert(raw | {"workload": []}, LogBenchmark, path, text)
    _require_finite(config, path, text)
    found: list[LogWorkload] = []
    for table, part in zip(tables, _parts(text, "workload"), strict=False):
        workload = convert(table, LogWorkload, path, part, "workload")
        if workload.name in [w.name for w in found]:
            raise errors.UserError(f"{path}{_line(part, 'name')}: workload {workload.name!r} is there twice; remove one")
        _require_finite(workload, path, part)
        if workload.direction != DIRECTIONS.get(workload.metric, workload.direction):
            raise errors.UserError(
                f"{path}{_line(part, 'direction')}: direction of {workload.metric} is {workload.direction!r}, "
                f"accepted: {DIRECTIONS[workload.metric]!r}"
            )
        found.append(workload)
    bases = [w.name for w in found if w.held_out_of is None]
    if not bases:
        raise errors.UserError(f"{path}: no [[workload]]; a board needs at least one")
    for workload in found:
        if workload.held_out_of is not None and workload.held_out_of not in bases:
            raise errors.unknown(f"base workload of {workload.name} in {path}:", workload.held_out_of, bases)
    return msgspec.structs.replace(config, workload=found)


def _require_finite(struct: Struct, path: pathlib.Path, text: str) -> None:
    for key in struct.__struct_fields__:
        value = getattr(struct, key)
        if isinstance(value, float) and not math.isfinite(value):
            raise errors.UserError(f"{path}{_line(text, key)}: {key} is {value}, accepted: a finite number")


def log_boards() -> list[str]:
    """Shipped boards of AlgoPerf's logs."""
    return [name for name in registry.names("benchmarks") if _parse(name)[2].get("kind") == LOGS]


def is_logs(name_or_path: str) -> bool:
    """Whether a benchmark is a board of AlgoPerf's logs."""
    return _parse(name_or_path)[2].get("kind") == LOGS


def _parse(name_or_path: str) -> tuple[pathlib.Path, str, dict[str, Any]]:
    path = _locate(name_or_path)
    text = _read(path)
    try:
        return path, text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise errors.UserError(f"{path}: not valid TOML: {e}") from e


def entrants(submissions: Sequence[str]) -> dict[str, str]:
    """`["nadamw", "mine=my.py", "other.py"]` -> `{"nadamw": "nadamw", "mine": "my.py", "other": "other.py"}`.

    Raises:
      UserError: a name used twice, or none where hyperparameters are fixed.
    """
    found: dict[str, str] = {}
    for item in submissions:
        name, source = _split_item(item)
        if name is None:
            file, values = registry.split_values(item)
            if values:
                raise errors.UserError(f"{item} needs a name of its own, such as mine={item}")
            file = registry.split_space(file)[0]
            if ":" in file:
                raise errors.UserError(
                    f"{item}: behind a colon stand a hyperparameter and its value, such as mine=muon:learning_rate=0.02"
                )
            name, source = pathlib.PurePath(file).stem if file.endswith(".py") else file.rpartition(".")[2], item
        _check_name("entrant", name, hint=f"; name a file with name=path, such as mine={source or './my_opt.py'}")
        if name in found:
            raise errors.UserError(f"entrant {name!r} is there twice; entrants need unique names, such as aa={source}")
        found[name] = source
    return found


def _split_item(item: str) -> tuple[str | None, str]:
    """`mine=my.py` -> (`mine`, `my.py`); None where there is no name. Behind a colon, `=` belongs to the source."""
    name, eq, source = item.partition("=")
    return (name, source) if eq and ":" not in name else (None, item)


def _check_name(what: str, name: str, where: str = "", hint: str = "") -> None:
    """Names become folders and columns."""
    if not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,63}", name):
        raise errors.UserError(f"{where}{what} name {name!r}: accepted are 1-64 letters, digits and _ . + -{hint}")


def _locate(name_or_path: str) -> pathlib.Path:
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path = pathlib.Path(name_or_path)
        if path.suffix == ".py":
            raise errors.UserError(
                f"{name_or_path} is a Python file, not a benchmark; to enter it as a submission: "
                f"algoperf-lite run demo --submissions mine={name_or_path}"
            )
        if path.is_dir():
            raise errors.UserError(f"{name_or_path} is a folder; a benchmark is one .toml file, or a shipped name")
        if not path.is_file():
            known = ", ".join(registry.names("benchmarks"))
            raise errors.UserError(f"benchmark file not found: {name_or_path}\n  shipped: {known}")
        return path
    shipped = registry.names("benchmarks")
    if name_or_path not in shipped:
        raise errors.unknown("benchmark", name_or_path, shipped, "a file is named by its path, ending in .toml")
    return shipped[name_or_path]


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as e:
        raise errors.UserError(f"{path}: not UTF-8 text: {e}") from e
    except OSError as e:
        raise errors.UserError(f"{path}: cannot be read: {e.strerror}") from e


def _relative(base: pathlib.Path, source: str) -> str:
    """Paths in a benchmark file are relative to the file; a search space may also lie beside its submission."""
    named, _ = registry.split_values(source)
    file, space = registry.split_space(named)
    if not registry.split_variant(file)[0].endswith(".py"):
        return source
    if not pathlib.Path(file).is_absolute():
        file = str(base / file)
    if space is not None:
        file += f":{base / space if (base / space).is_file() else space}"
    return file + source[len(named) :]


def convert(raw: dict[str, Any], struct: type[Struct], path: pathlib.Path, text: str, table: str = "") -> Any:
    """A parsed mapping as a struct; unknown keys are answered with the nearest known one, with file and line.

    The line of a key that is missing is that of its `table`.
    """
    known = [f.name for f in msgspec.structs.fields(struct)]
    for key in raw:
        if key not in known:
            raise errors.unknown(f"key in {path}{_line(text, key)}:", key, known)
    try:
        return msgspec.convert(raw, struct)
    except msgspec.ValidationError as e:
        match = re.search(r"at `\$\.?([A-Za-z_]+)", str(e))
        key = match.group(1) if match else ""
        line = _line(text, key or table) if key or table else ""
        seen = f" (found {key} = {raw.get(key)!r})" if key in raw else ""
        accepted = f"; accepted: {ACCEPTED[key]}" if key in ACCEPTED else ""
        raise errors.UserError(f"{path}{line}: {e}{seen}{accepted}") from e


def _parts(text: str, table: str) -> Iterator[str]:
    """The text from each [[table]] on, in its place; endlessly, for tables that are written another way."""
    for match in re.finditer(rf"^\s*\[\[\s*{table}\s*\]\]", text, re.MULTILINE):
        yield "\n" * text.count("\n", 0, match.start()) + text[match.start() :]
    yield from itertools.repeat(text)


def _line(text: str, key: str) -> str:
    """`:12` for the line where a key stands, empty where it does not."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[*{re.escape(key)}\b", line):
            return f":{number}"
    return ""
