"""Entries of a list of markets that cannot be taken as they are: of which contract, and why."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from market.left_out import MOST_NAMED

# Reasons, told as `<name>: <reason>` and read again from there: they contain no colon.
CANNOT_BE_READ: Final = "its entry in the list of markets cannot be read"
NOT_CLEAR: Final = "its entry in the list of markets does not say what it is or whether it trades"
UNUSABLE_NAME: Final = "its name, or its coin's, cannot be used"
LISTED_TWICE: Final = "the list of markets has it twice, as different contracts"


class UnreadEntry(NamedTuple):
    """`symbol`: the contract that the entry is about; where its name cannot be used, as sent.

    `expected`: that it cannot be taken is told even if the contract is not known, because nothing
    else says that it is none to collect.
    """

    symbol: str
    why: str
    expected: bool = False


def at_most_told(told: Sequence[str]) -> tuple[str, ...]:
    """The first MOST_NAMED of texts of the form `<name>: <reason>`; the last of them counts the
    others."""
    named, more = tuple(told[:MOST_NAMED]), len(told) - MOST_NAMED
    if more <= 0:
        return named
    return (*named[:-1], f"{named[-1]} (and {more} more contracts are left out)")
