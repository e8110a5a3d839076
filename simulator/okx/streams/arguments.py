"""The arguments of OKX's subscriptions: which channels there are, on which path, and of what.

A stream's name is "channel:instId", such as "candle5m:BTC-USDT-SWAP" or "instruments:SWAP"; faults
name streams so.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from simulator.answers import dump
from simulator.okx.bars import BARS

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
CANDLE: Final = "candle"
KINDS: Final = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "ANY")


class Channel(NamedTuple):
    """`of`: the parameter that says of what. `spot`: whether spot markets have it too."""

    path: str = PUBLIC
    of: str = "instId"
    spot: bool = True


CHANNELS: Final[Mapping[str, Channel]] = {
    "tickers": Channel(),
    "trades": Channel(),
    "books": Channel(),
    "books5": Channel(),
    "bbo-tbt": Channel(),
    "open-interest": Channel(spot=False),
    "funding-rate": Channel(spot=False),
    "mark-price": Channel(spot=False),
    "instruments": Channel(of="instType"),
    **{f"{CANDLE}{bar}": Channel(BUSINESS) for bar in BARS},
}
# They need a login and a high fee tier.
FEE_TIERS: Final = ("books50-l2-tbt", "books-l2-tbt")


class Refused(Exception):
    """An error answer: code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Argument(NamedTuple):
    """One subscription. `text`: the JSON of the argument as it was sent, for the answer."""

    channel: str
    of: str  # the value of the channel's parameter
    text: bytes

    @property
    def stream(self) -> str:
        return f"{self.channel}:{self.of}"


def read_argument(value: Any, path: str) -> Argument:
    """Reads one element of `args` on this path. Raises Refused."""
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise Refused(60013, "Invalid args")
    name = value.get("channel", "")
    if not name:
        raise Refused(60027, "Parameter channel can not be empty")
    if name in FEE_TIERS:
        raise Refused(64003, f"Your fee tier does not let you subscribe to channel {name}")
    channel = CHANNELS.get(name)
    if channel is not None and not value.get(channel.of):
        raise Refused(60027, f"Parameter {channel.of} can not be empty")
    if channel is None or channel.path != path:
        raise unknown(value)
    return Argument(name, value[channel.of], dump(value))


def unknown(value: Mapping[str, str]) -> Refused:
    """A channel or an instrument that does not exist, or not on this path."""
    named = ",".join(f"{name}:{text}" for name, text in value.items())
    return Refused(
        60018,
        f"Subscribe failed, wrong URL or {named} doesn't exist. Please use the correct URL, "
        "channel and parameters referring to API document.",
    )


def split(stream: str) -> tuple[str, str]:
    """The channel of a stream's name, and what it is of."""
    channel, _, of = stream.partition(":")
    return channel, of


def head(stream: str) -> bytes:
    """The beginning of every message of a stream."""
    channel, of = split(stream)
    return b'{"arg":' + dump({"channel": channel, CHANNELS[channel].of: of}) + b","
