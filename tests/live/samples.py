"""One message of each kind that the exchanges' documentation or recordings show, by name."""

from functools import cache
from pathlib import Path
from typing import Final

from live.exchanges import STREAM_VENUES

EXCHANGES: Final = tuple(STREAM_VENUES)
_FOLDER: Final = Path(__file__).parent


@cache
def samples_of(exchange: str) -> dict[str, bytes]:
    lines = (_FOLDER / f"messages_{exchange}.tsv").read_bytes().splitlines()
    named = [line.split(b"\t", 1) for line in lines]
    return {name.decode(): message for name, message in named}


def all_samples() -> list[tuple[str, str]]:
    """Exchange and name of every sample."""
    return [(exchange, name) for exchange in EXCHANGES for name in samples_of(exchange)]
