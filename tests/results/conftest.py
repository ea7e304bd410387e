"""A small board of AlgoPerf's logs, and the command that scores it."""

import pytest

from algoperf_lite import cli
from tests import algoperf_logs as made

WORKLOADS = {"w": "accuracy", "v": "loss"}


@pytest.fixture
def logs(tmp_path):
    """(folder of logs, board): submissions a and b, three studies of one trial."""
    board = {
        name: {w: [[made.hit(time, metric)]] * 3 for w, metric in WORKLOADS.items()}
        for name, time in (("a", 40.0), ("b", 60.0))
    }
    made.write(tmp_path / "logs", WORKLOADS, board)
    return tmp_path / "logs", made.benchmark(tmp_path / "board.toml", WORKLOADS)


@pytest.fixture
def say(capsys):
    """(exit code, stdout, stderr) of `algoperf-lite score`."""

    def run(*args):
        code = cli.main(cli.parser().parse_args(["score", *map(str, args)]))
        return code, *capsys.readouterr()

    return run
