"""Adapters that run submissions written for other harnesses."""
