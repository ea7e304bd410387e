"""Which submissions are compared with a plain-NumPy transcription of their source."""

import importlib
import pathlib


def files() -> list[pathlib.Path]:
    """The modules `test_*_rules.py` beside this one."""
    return sorted(pathlib.Path(__file__).parent.glob("test_*_rules.py"))


def transcribed() -> set[str]:
    """The union of their `TRANSCRIBED`."""
    return set().union(*(importlib.import_module(f"tests.submissions.{file.stem}").TRANSCRIBED for file in files()))
