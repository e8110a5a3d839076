"""OKX's list of maintenances: which one is under way that its market data may be away for."""

from typing import Any, Final

import msgspec

from venues.entries import lenient
from venues.numbers import Loose, int_or_0
from venues.reading import AnswerFaults, Maintenance

# Of perpetuals, and of the whole trading service; others are of bots, block trades or accounts.
_SERVICES: Final = ("", "3", "5")


class _Window(msgspec.Struct):
    state: Any = None
    title: Any = None
    end: Loose = None
    env: Loose = None
    serviceType: Loose = None


class _Windows(msgspec.Struct):
    data: list[_Window]


_WINDOWS: Final = lenient(_Windows)


def read_maintenance(body: bytes, faults: AnswerFaults) -> Maintenance | None:
    """{"code":"0","msg":"","data":[{"begin":"1672823400000","end":"1672823520000","env":"1",
    "href":"","maintType":"1","serviceType":"5","state":"ongoing","system":"unified",
    "title":"Trading account system upgrade"}]}: `end` is expected until it has ended; `env` 2 is
    the demo. Without a state only what has not ended is listed."""
    under_way = [
        Maintenance(window.title if isinstance(window.title, str) else "", int_or_0(window.end))
        for window in faults.decode(_WINDOWS, body).data
        if window.state == "ongoing"
        and str(window.env or "1") == "1"
        and str(window.serviceType or "") in _SERVICES
    ]
    return max(under_way, key=lambda each: each.end_ms, default=None)
