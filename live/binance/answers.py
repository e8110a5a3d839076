"""Binance's answers to requests, and what a message has around its data."""

from typing import Any, Final

import msgspec

from live.events import Refused, Subscribed
from texts.foreign import foreign_text

_MOST_NAMES: Final = 1024  # streams of one connection


class Fault(msgspec.Struct):
    """Why a request failed."""

    code: int | str | None = None
    msg: str | None = None


class Envelope(Fault):
    """What a message may be around its data, or instead of any."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    e: Any = None
    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: Fault | None = None


ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def read_answer(envelope: Envelope) -> Subscribed | Refused | None:
    """{"result":null,"id":1}, also for a name that does not exist; {"error":{"code":2,
    "msg":"Invalid request: unknown variant `NOT_A_METHOD`"},"id":2}, or that without "error"."""
    request_id = foreign_text(str(envelope.id), 40) if envelope.id is not None else ""
    fault = envelope.error or (envelope if envelope.code is not None else None)
    if fault is not None:
        code = foreign_text(str(fault.code), 40)
        return Refused(request_id, f"code {code}: {foreign_text(fault.msg or '')}")
    if envelope.result is msgspec.UNSET:
        return None
    listed = envelope.result if isinstance(envelope.result, list) else ()
    names = (name for name in listed[:_MOST_NAMES] if isinstance(name, str))
    return Subscribed(request_id, tuple(names))
