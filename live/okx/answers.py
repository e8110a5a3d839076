"""OKX's answers to requests, its notices, and what a message has around its data."""

import re
from typing import Final

import msgspec

from live.events import ClosingSoon, Event, Refused, Subscribed
from live.reading import Text, unread_kind
from texts.foreign import foreign_text

_IGNORED: Final = ("channel-conn-count", "channel-conn-count-error")  # of private channels
_CLOSING: Final = "64008"
_NAMED_IN_ERROR: Final = re.compile(r"channel:([\w-]{1,40}),\s?instId:([\w-]{1,64})")


class Arg(msgspec.Struct, gc=False):
    """Which channel of which market a message is about."""

    channel: Text
    instId: Text = ""


class Envelope(msgspec.Struct):
    """What a message may have around its data, or instead of any."""

    arg: Arg | None = None
    action: Text = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str | None = None
    id: str | int | None = None
    code: str | int | None = None
    msg: str | None = None


ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def read_event(envelope: Envelope) -> list[Event]:
    """{"id":"1512","event":"subscribe","arg":{"channel":"candle4H","instId":"BTC-USDT-SWAP"},
    "connId":"a4d3ae55"}; {"event":"error","msg":"Subscribe failed, wrong URL or
    channel:candle1m,instId:BTC-USDT doesn't exist. ...","code":"60018","connId":"e1f69f02"};
    {"event":"notice","code":"64008","msg":"The connection will soon be closed ...","connId":"a"}"""
    request_id = foreign_text(str(envelope.id), 40) if envelope.id is not None else ""
    code = foreign_text(str(envelope.code), 40)
    text = foreign_text(envelope.msg or "")
    arg = envelope.arg
    if envelope.event in ("subscribe", "unsubscribe") and arg is not None:
        return [Subscribed(request_id, (arg_text(arg.channel, arg.instId),))]
    if envelope.event == "error":
        names = tuple(arg_text(*found) for found in _NAMED_IN_ERROR.findall(text))
        return [Refused(request_id, f"code {code}: {text}", names)]
    if envelope.event == "notice" and code == _CLOSING:
        return [ClosingSoon(text)]
    if envelope.event in _IGNORED:
        return []
    return [unread_kind(f"{envelope.event} {code}: {text}")]


def arg_text(channel: str, symbol: str) -> str:
    """{"channel":"candle5m","instId":"BTC-USDT-SWAP"}"""
    return msgspec.json.encode({"channel": channel, "instId": symbol}).decode()
