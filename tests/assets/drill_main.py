"""`python -m algoperf_lite` without P4's second stop, whose outcome alone may hang on the machine's speed."""

import sys

from algoperf_lite import cli, trial

trial.TIME_FACTOR = 1e9

if __name__ == "__main__":
    sys.exit(cli.main(cli.parser().parse_args(sys.argv[1:])))
