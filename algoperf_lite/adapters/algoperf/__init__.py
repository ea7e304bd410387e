"""Runs AlgoPerf's JAX submission files unmodified.

`drive` trains by such a file on any problem given as plain functions; the registry enters one on a board like any other
submission. What differs from AlgoPerf, and which files cannot run: docs/algoperf_submissions.md.
"""

from algoperf_lite.adapters.algoperf.driving import Driven, drive
from algoperf_lite.adapters.algoperf.space import halton, points
from algoperf_lite.adapters.algoperf.spec import ForwardPassMode, TrainingCompleteError

__all__ = ["Driven", "ForwardPassMode", "TrainingCompleteError", "drive", "halton", "points"]
