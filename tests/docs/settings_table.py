"""The columns of docs/settings.md that Settings makes: defaults, and which values are taken."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from addresses import setting_types as types
from config import Exchanges, Settings, Timeframes
from market.markets import Exchange

_ROW: Final = re.compile(r"^\| (`[A-Z].+?`) \| (.*?) ?\| (.*?) ?\| (.+) \|$", re.MULTILINE)


def _validator(alias: Any) -> Any:
    """What a type of settings is known by: its last validator."""
    return get_args(alias)[-1]


_KINDS: Final = {
    _validator(alias): words
    for alias, words in (
        (types.BaseUrl, "URL"),
        (types.PlainUrl, "URL without a password"),
        (types.StreamUrl, "ws or wss URL"),
        (types.ExchangeProxy, "URL of a proxy"),
        (types.UsualProxy, "URL of a proxy"),
        (types.RedisUrl, "URL of a Redis"),
        (types.DatabaseUrl, "URL of a PostgreSQL"),
        (types.HeaderToken, "text"),
        (types.Host, "host"),
        (types.IpAddress, "IP address"),
        (types.Switch, "on, off"),
        (types.Zone, "time zone"),
        (types.Prefix, "up to 64 letters, digits and `._:-{}`"),
        (types.ByteSize, "bytes, such as 500MB"),
        (types.Origins, "origins, or `*`"),
        (types.Networks, "addresses, networks"),
        (types.Hosts, "hosts"),
        (types.Queues, "names"),
        (types.Modules, "modules"),
        (types.Words, "names, or `*`"),
        (types.NotifyUrls, "addresses of apprise"),
        (types.HeartbeatUrl, "HTTP address"),
        (types.Quiet, "hours and a time zone"),
        (Exchanges, ", ".join(Exchange)),
        (Timeframes, "timeframes"),
    )
}


def renewed(text: str) -> str:
    """The page with the columns `default` and `values` of each row made anew.

    A default is made where it is one number or word; others, such as "all ten", stay as written.
    """

    def row(found: re.Match[str]) -> str:
        named, default, _, meaning = found.groups()
        fields = [Settings.model_fields[name.lower()] for name in re.findall(r"`(\w+)`", named)]
        defaults = _joined([_default(field) for field in fields])
        values = _joined([_values(field) for field in fields], "; ")
        shown = defaults if defaults is not None else default
        return f"| {named} | {shown} | {values} | {meaning} |".replace("|  |", "| |")

    return _ROW.sub(row, text)


def rows(text: str) -> Iterator[tuple[list[str], str]]:
    """The settings of each row, and its default as it is told."""
    for named, default, _, _ in _ROW.findall(text):
        yield re.findall(r"`(\w+)`", named), default


def _joined(each: list[str | None], separator: str = ", ") -> str | None:
    if any(one is None for one in each):
        return None
    words = [one for one in each if one is not None]
    return words[0] if len(set(words)) == 1 else separator.join(words)


def _default(field: FieldInfo) -> str | None:
    value = field.default
    if _validator(types.ByteSize) in field.metadata or value == "":
        return None
    if _validator(types.Switch) in field.metadata:
        return "on" if value else "off"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else _word(value)


def _word(value: Any) -> str | None:
    if isinstance(value, int | str):
        return str(value)
    return f"./{value}" if isinstance(value, Path) else None


def _values(field: FieldInfo) -> str:
    """What the setting takes, in a few words."""
    parts = [*_parts(field.annotation), *field.metadata]
    for part in parts:
        if part in _KINDS:
            return _KINDS[part]
        if pattern := getattr(part, "pattern", None):
            return f"`{pattern}`"
    if words := [part for part in parts if get_origin(part) is Literal]:
        return ", ".join(get_args(words[0]))
    if bool in parts:
        return "true, false"
    if Path in parts:
        return "path"
    if int in parts or float in parts:
        return _bounds(parts)
    return "text"


def _parts(annotation: Any) -> Iterator[Any]:
    """The types within an annotation, and what is said beside them."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
        return
    for part in get_args(annotation):
        yield from _parts(part)


def _bounds(parts: list[Any]) -> str:
    limits = {
        name: getattr(each, name)
        for part in parts
        # Field(ge=…, le=…) within a union is one FieldInfo with both.
        for each in (part, *getattr(part, "metadata", ()))
        for name in ("ge", "gt", "le")
        if getattr(each, name, None) is not None
    }
    words = []
    if "gt" in limits:
        words.append(f"above {limits['gt']:,}")
    elif "ge" in limits:
        words.append(f"{limits['ge']:,}" + ("" if "le" in limits else " or more"))
    if "le" in limits:
        words.append(f"to {limits['le']:,}")
    return " ".join(words) or "number"
