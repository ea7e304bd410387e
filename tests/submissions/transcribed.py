"""Which submissions are compared with a plain-NumPy transcription of their source."""

import importlib
import pathlib


def transcribed() -> set[str]:
    """The union of `TRANSCRIBED` over the modules `test_*_rules.py` beside this one."""
    files = sorted(pathlib.Path(__file__).parent.glob("test_*_rules.py"))
    return set().union(*(importlib.import_module(f"tests.submissions.{file.stem}").TRANSCRIBED for file in files))
