"""Bybit's answers to requests and pings, and what a message has around its data."""

from typing import Any, Final

import msgspec

from live.events import Event, Pong, Refused, Subscribed
from live.reading import Text
from texts.foreign import foreign_text

_HELD: Final = "already subscribed"


class Envelope(msgspec.Struct):
    """What a message may have around its data, or instead of any."""

    topic: Text = ""
    ts: Any = None
    type: Any = "snapshot"
    data: msgspec.Raw = msgspec.Raw()
    success: bool | None = None
    ret_msg: str | None = None
    op: str | None = None
    req_id: str | int | None = None


ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def read_answer(envelope: Envelope) -> Event | None:
    """{"success":true,"ret_msg":"","conn_id":"..","req_id":"1","op":"subscribe"};
    {"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.BTCUSDT","req_id":"2"};
    {"success":true,"ret_msg":"pong","conn_id":"..","req_id":"p1","op":"ping"}"""
    message = foreign_text(envelope.ret_msg or "")
    if envelope.op in ("ping", "pong"):
        return Pong()
    if envelope.success is None:
        return None
    request_id = foreign_text(str(envelope.req_id), 40) if envelope.req_id is not None else ""
    if envelope.success:
        return Subscribed(request_id)
    topic = message.partition("topic:")[2].strip()
    names = (topic,) if topic else ()
    is_held = bool(names) and _HELD in message
    return Refused(request_id, message or "no reason told", names, is_held)
