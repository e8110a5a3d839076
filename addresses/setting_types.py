"""The types of settings: how a text is read and checked, with messages that repeat no secret."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from addresses.database_url import parse_database_url
from addresses.lists import Network, parse_hosts, parse_networks, parse_origins, split_list
from addresses.notify_urls import check_heartbeat_url, split_notify_urls
from addresses.proxy import parse_proxy, parse_usual_proxy
from addresses.redis_url import parse_redis_url
from addresses.url import check_host
from addresses.web import parse_base_url, parse_stream_url
from timing.quiet_hours import QuietHours, parse_quiet_hours


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Calls `check`, whose ValueError must not repeat the value: it may hold a password.

    Spaces and line breaks at its ends are left out: files of secrets often end with one.
    """

    def checked(value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        check(text)
        return SecretStr(text)

    return AfterValidator(checked)


def read_by(read: Callable[[str], object]) -> BeforeValidator:
    """Calls `read` for a text; a value of another type, such as the default, stays."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _switch(value: str) -> bool:
    if value.strip().lower() not in ("on", "off"):
        raise ValueError("must be on or off")
    return value.strip().lower() == "on"


def _base_url(value: str) -> None:
    parse_base_url(value, userinfo=True)


def _stream_url(value: str) -> None:
    parse_stream_url(value, userinfo=True)


def _plain_url(value: str) -> str:
    parse_base_url(value.strip(), userinfo=False)
    return value.strip().rstrip("/")


def _header_token(value: str) -> None:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces")


def _host(value: str) -> str:
    value = value.strip()
    if value.startswith("["):
        raise ValueError("is written without brackets")
    check_host(value)
    return value


def _log_level(value: str) -> str:
    level = value.strip().upper()
    return "WARNING" if level == "WARN" else level


def _lower(value: str) -> str:
    return value.strip().lower()


def _port_of_redis(value: str) -> str | None:
    # Kubernetes and container links set REDIS_PORT=tcp://... for any service called redis.
    return None if value.startswith("tcp://") else value


def _prefix(value: str) -> str:
    # Neither a pattern of SCAN or an ACL rule, nor a path; braces enclose a hash tag.
    if len(value) > 64 or not re.fullmatch(r"([A-Za-z0-9._:-]|\{[A-Za-z0-9._:-]+\})*", value):
        raise ValueError(
            "must be at most 64 letters, digits and . _ : -, or a {tag} of them, such as perp:"
        )
    return value


_BYTES: Final = re.compile(r"([0-9]{1,15})\s*(?:([kmg])(i?)b)?", re.ASCII | re.IGNORECASE)
LEAST_IN_FLIGHT: Final = 1_000_000


def _byte_size(value: str) -> int:
    found = _BYTES.fullmatch(value.strip())
    if found is None:
        raise ValueError("must be a whole number of bytes, KB, MB or GB, such as 500MB")
    number, prefix, binary = found.groups()
    factor = 1024 if binary else 1000
    powers = {"": 1, "k": factor, "m": factor**2, "g": factor**3}
    return int(number) * powers[(prefix or "").lower()]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value.strip())
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("must be an IANA time zone, such as UTC or Asia/Ho_Chi_Minh") from None
    return value.strip()


_QUEUE: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}")


def check_queue(name: str) -> str:
    """A queue's name as it is. Raises ValueError."""
    if not _QUEUE.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r}: a queue's name is 1 to 64 lower-case letters, digits and . _ : -"
        )
    return name


_WORD: Final = re.compile(r"\*|[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


def _words(value: str) -> tuple[str, ...]:
    """Names of assets or chains in lower case."""
    words = tuple(dict.fromkeys(word.lower() for word in split_list(value)))
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word[:80]!r}: must be names such as btc,eth, comma-separated, or *")
    return words


def _queues(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_queue(name) for name in split_list(value)))


def _modules(value: str) -> tuple[str, ...]:
    names = tuple(split_list(value))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(
                f"{name[:80]!r}: must be names of Python modules, comma-separated, such as"
                " plugins.funds"
            )
    if len(set(names)) < len(names):
        raise ValueError("names a module twice")
    return names


def _ip_address(value: str) -> str:
    try:
        return str(ip_address(value.strip()))
    except ValueError:
        raise ValueError("must be an IP address of this host, such as 192.0.2.10") from None


IpAddress = Annotated[str, AfterValidator(_ip_address)]
Host = Annotated[str, AfterValidator(_host)]
Live = Annotated[Literal["auto", "on", "off"], read_by(_lower)]
OnOff = Annotated[Literal["on", "off"], read_by(_lower)]
Switch = Annotated[bool, read_by(_switch)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], read_by(_log_level)]
RedisUrl = Annotated[SecretStr, _checked(parse_redis_url)]
RedisPort = Annotated[Annotated[int, Field(ge=1, le=65535)] | None, read_by(_port_of_redis)]
PlainUrl = Annotated[str, AfterValidator(_plain_url)]
HeaderToken = Annotated[SecretStr, _checked(_header_token)]
Prefix = Annotated[str, AfterValidator(_prefix)]
DatabaseUrl = Annotated[SecretStr, _checked(parse_database_url)]
BaseUrl = Annotated[SecretStr, _checked(_base_url)]
StreamUrl = Annotated[SecretStr, _checked(_stream_url)]
ExchangeProxy = Annotated[SecretStr, _checked(parse_proxy)]
UsualProxy = Annotated[SecretStr, _checked(parse_usual_proxy)]
NotifyUrls = Annotated[SecretStr, _checked(split_notify_urls)]
HeartbeatUrl = Annotated[SecretStr, _checked(check_heartbeat_url)]
Quiet = Annotated[QuietHours, NoDecode, read_by(parse_quiet_hours)]
QuietCritical = Annotated[Literal["tell", "wait"], read_by(_lower)]
Origins = Annotated[tuple[str, ...], NoDecode, read_by(parse_origins)]
Networks = Annotated[tuple[Network, ...], NoDecode, read_by(parse_networks)]
Hosts = Annotated[tuple[str, ...], NoDecode, read_by(parse_hosts)]
ByteSize = Annotated[int, read_by(_byte_size)]
Zone = Annotated[str, AfterValidator(_zone)]
Queues = Annotated[tuple[str, ...], NoDecode, read_by(_queues)]
Modules = Annotated[tuple[str, ...], NoDecode, read_by(_modules)]
Words = Annotated[tuple[str, ...], NoDecode, read_by(_words)]
SchemaName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,30}$")]
