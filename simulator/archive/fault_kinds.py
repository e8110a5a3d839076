"""The archive's own faults: what is wrong with its files, and which files a rule means."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from simulator.archive.names import ArchiveFile
from simulator.exchange import FaultKind
from simulator.faults import Rule

NAME: Final = "archive"  # what rules and statistics call it, where others name an exchange
_FIELDS: Final = ("period", "interval")
_CUT: Final = "archive_cut"

# Rules of these are in force as long as they are there, for listing, checksum and file alike.
# Field `endpoint` is klines, metrics or fundingRate, `period` such as 2026-06-20 or 2026-05.
FILE_KINDS: Final[Mapping[str, FaultKind]] = {
    "archive_missing": FaultKind("the file is not there", _FIELDS),
    "archive_half": FaultKind("the second half of its rows is missing", _FIELDS),
    "archive_zeros": FaultKind("two hours of metrics have an open interest of zero", _FIELDS),
    "archive_doubled": FaultKind("every row is there twice", _FIELDS),
    "archive_disputed": FaultKind("a row is there twice, with two values", _FIELDS),
    "archive_draft": FaultKind(
        "the file as first published: its first row has another number. Deleting the rule replaces "
        "the file in place",
        _FIELDS,
    ),
    "archive_truncated": FaultKind(
        "the first half of the zip alone, with a checksum of it", _FIELDS
    ),
    "archive_checksum": FaultKind("a checksum of other bytes", _FIELDS),
    "archive_no_checksum": FaultKind("no checksum is there", _FIELDS),
    "archive_bomb": FaultKind("a small zip of 100 MB of nothing", _FIELDS),
    "archive_path": FaultKind("the name inside of the zip leads out of its folder", _FIELDS),
}
# Of single answers, as are the exchanges' kinds in ANSWER_KINDS. Their field `endpoint` may be
# `listing` or `checksum`, too.
CUT: Final = {
    _CUT: FaultKind("half of the answer, then the connection is cut, at once or after `seconds`")
}
OWN_KINDS: Final[Mapping[str, FaultKind]] = {**FILE_KINDS, **CUT}
ANSWER_KINDS: Final = ("status", "reset", "hang", "slow", "hold", _CUT)


def is_meant(rule: Rule, file: ArchiveFile) -> bool:
    """Whether a rule of FILE_KINDS is about this file."""
    for name, value in (("endpoint", file.kind), ("symbol", file.symbol)):
        wanted = rule.targets.get(name)
        if wanted is not None and value not in wanted:
            return False
    return all(
        _is_among(rule.get(name), value)
        for name, value in (("period", file.period), ("interval", file.interval))
    )


def _is_among(wanted: Any, value: str) -> bool:
    if wanted is None:
        return True
    among: Collection[Any] = [wanted] if isinstance(wanted, str) else wanted
    return value in among
