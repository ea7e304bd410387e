"""The data sets that can be fetched, as data: where each file comes from and what its bytes must be.

A file's path is the same in the data folder and in a mirror.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class File:
    """One file. `url` names a fixed commit, so that the bytes cannot change."""

    path: str
    bytes: int
    sha256: str
    url: str


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set: its licence as its source states it, and its files."""

    name: str
    description: str
    licence: str
    source: str
    files: tuple[File, ...]


_CHAR_RNN = "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"

CATALOG = {
    d.name: d
    for d in (
        Dataset(
            name="tinyshakespeare",
            description="Plays of Shakespeare as one text of 1,115,394 ASCII characters, 65 of them distinct",
            licence="text in the public domain",
            source="https://github.com/karpathy/char-rnn",
            files=(
                File(
                    path="tinyshakespeare/input.txt",
                    bytes=1115394,
                    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    url=f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
                ),
            ),
        ),
    )
}
