"""`python -m algoperf_lite` is the same program as `algoperf-lite`."""

from algoperf_lite.cli import entry_point

if __name__ == "__main__":
    entry_point()
