"""What a document's `missing` tells the next run of each market: rows left out, failed parts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from market.left_out import LeftOut, read_left_out
from market.markets import NOT_FETCHED_YET, Missing, MissingPart

_PARTS: Final = get_args(MissingPart)
_NOTHING: Final[Mapping[MissingPart, Sequence[LeftOut]]] = {}


class Lacks(NamedTuple):
    """What one market's series lacks, as MarketSeries tells it."""

    open_interest: bool = False
    awaits_open_interest: bool = False
    left_out: Mapping[MissingPart, Sequence[LeftOut]] = _NOTHING


def lacks_by_market(missing: Iterable[Any]) -> dict[str, Lacks]:
    """What the markets that are named lack, by Market.key; an entry of no known form is passed by.

    `missing`: the entries in the document's order, as they are or parsed from its JSON.
    """
    left_out: dict[str, dict[MissingPart, list[LeftOut]]] = {}
    failed: set[str] = set()
    awaited: set[str] = set()
    for entry in missing:
        if isinstance(entry, Missing):
            key, part, reason = f"{entry.exchange}:{entry.symbol}", entry.part, entry.reason
        elif isinstance(entry, dict) and entry.get("part") in _PARTS:
            key, part = f"{entry.get('exchange')}:{entry.get('symbol')}", entry["part"]
            reason = str(entry.get("reason"))
        else:
            continue
        row = read_left_out(reason)
        if row is not None:
            left_out.setdefault(key, {}).setdefault(part, []).append(row)
        elif part == "open_interest":
            failed.add(key)
            if reason == NOT_FETCHED_YET:
                awaited.add(key)
    return {
        key: Lacks(key in failed, key in awaited, left_out.get(key, _NOTHING))
        for key in left_out.keys() | failed
    }
