"""One reader per data set (NumPy only, no JAX), and fetching with checksums."""
