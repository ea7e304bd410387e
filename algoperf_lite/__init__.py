"""A benchmark harness for training algorithms in JAX: fixed workloads, time to a target, honest scores."""

__version__ = "0.1.0"
