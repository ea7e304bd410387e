"""Network modules shared by workloads, and the one adapter from modules to pure functions."""
