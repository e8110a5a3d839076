"""Settings: all environment variables with defaults and checks, read once at start."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from market.markets import DEFAULT_EXCHANGES, Exchange


class SettingsError(Exception):
    """Environment variables are invalid; `lines` has one line for each of them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _url(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        # The value may hold a password, so no message repeats it.
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError("must be a URL with " + ", ".join(f"{s}://" for s in schemes))
        return value

    return AfterValidator(check)


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _exchanges(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Exchange)]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError("must be a comma-separated choice of " + ", ".join(Exchange))
    return tuple(Exchange(name) for name in names)


def _split_list(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = tuple(_split_list(value))
    for origin in origins:
        parts = urlsplit(origin)
        # Browsers send origins without a path.
        if origin != "*" and (
            parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}"
        ):
            raise ValueError("must be * or origins such as https://example.org, comma-separated")
    return origins


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "none":
        return ()
    try:
        return tuple(ip_network(word) for word in _split_list(value))
    except ValueError:
        raise ValueError("must be none or addresses and networks, comma-separated") from None


def _prefix(value: str) -> str:
    # Neither a pattern of SCAN or an ACL rule, nor a path; braces enclose a hash tag.
    if len(value) > 64 or not re.fullmatch(r"([A-Za-z0-9._:-]|\{[A-Za-z0-9._:-]+\})*", value):
        raise ValueError(
            "must be at most 64 letters, digits and . _ : -, or a {tag} of them, such as perp:"
        )
    return value


_HOST: Final = re.compile(r"(\*?\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)


def _hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    hosts = tuple(host.lower() for host in _split_list(value))
    for host in hosts:
        if host != "*" and not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise ValueError(
                "must be * or names and addresses without a port, comma-separated,"
                " such as example.org or *.example.org"
            )
    return hosts


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).version == 6
    except ValueError:
        return False


_BYTES: Final = re.compile(r"([0-9]{1,15})\s*(?:([kmg])(i?)b)?", re.ASCII | re.IGNORECASE)
_LEAST_IN_FLIGHT: Final = 1_000_000


def _byte_size(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _BYTES.fullmatch(value.strip())
    if found is None:
        raise ValueError("must be a whole number of bytes, KB, MB or GB, such as 500MB")
    number, prefix, binary = found.groups()
    power = " kmg".index(prefix.lower()) if prefix else 0
    return int(number) * (1024 if binary else 1000) ** power


Network = IPv4Network | IPv6Network
BaseUrl = Annotated[str, AfterValidator(_base_url)]


def _base_url_name(exchange: Exchange) -> str:
    return f"{exchange}_base_url"


if TYPE_CHECKING:
    _BaseUrls = BaseSettings
else:  # <EXCHANGE>_BASE_URL for each exchange
    _BaseUrls = create_model(
        "_BaseUrls",
        __base__=BaseSettings,
        **{_base_url_name(exchange): (BaseUrl | None, None) for exchange in Exchange},
    )


class Settings(_BaseUrls):
    """All settings; the README's table describes them."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=0, le=65535)
    web_concurrency: int = Field(1, ge=1, le=64)
    data_dir: Path = Path("data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    redis_url: Annotated[SecretStr, _url("redis", "rediss", "unix")] | None = None
    upstash_redis_rest_url: BaseUrl | None = None
    upstash_redis_rest_token: SecretStr | None = None
    redis_prefix: Annotated[str, AfterValidator(_prefix)] = ""
    installation_id: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    upstash_poll_s: float = Field(5, ge=0.1, le=3600)
    database_url: Annotated[SecretStr, _url("postgresql", "postgres")] | None = None

    exchanges: Annotated[tuple[Exchange, ...], NoDecode, BeforeValidator(_exchanges)] = (
        DEFAULT_EXCHANGES
    )
    quote: str = Field("USDT", pattern=r"^[A-Z0-9]{2,10}$")
    markets_limit: int = Field(0, ge=0)
    history_candles: int = Field(499, ge=1, le=5000)
    funding_history: int = Field(400, ge=1, le=5000)
    concurrency_limit: int = Field(20, ge=1, le=200)
    rate_fraction: float = Field(0.9, gt=0, le=1)
    egress_id: str = Field("default", pattern=r"^[A-Za-z0-9._-]{1,64}$")

    cron_secret: SecretStr | None = None
    api_token: SecretStr | None = None
    read_token: SecretStr | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = ()
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = (
        ip_network("127.0.0.0/8"),
        ip_network("::1"),
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)] = ()
    max_bytes_in_flight: Annotated[int, BeforeValidator(_byte_size)] = Field(
        10**9, ge=_LEAST_IN_FLIGHT
    )
    max_waits_per_client: int = Field(100, ge=1, le=100_000)
    worker_lock_ttl_s: float = Field(15, ge=1, le=300)
    min_refresh_s: float = Field(2, ge=0, le=3600)
    fr_refresh_on_start: bool = True

    @model_validator(mode="after")
    def _one_hot_store(self) -> "Settings":
        upstash = (self.upstash_redis_rest_url, self.upstash_redis_rest_token)
        if any(upstash) and not all(upstash):
            raise ValueError(
                "UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN go together: set both"
            )
        if self.redis_url and any(upstash):
            raise ValueError("REDIS_URL and UPSTASH_REDIS_REST_URL exclude each other: set one")
        return self

    @property
    def api_names(self) -> list[str]:
        """The names of the API processes behind one listener."""
        return [f"api-{number}" for number in range(1, self.web_concurrency + 1)]

    def base_url(self, exchange: Exchange) -> str | None:
        """The exchange's REST address from <EXCHANGE>_BASE_URL; None if it is not set."""
        address: str | None = getattr(self, _base_url_name(exchange))
        return address


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`; `overrides` take precedence.

    Raises SettingsError with one line for each invalid variable, without its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError([_error_line(detail) for detail in error.errors()]) from None


def _error_line(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    location = detail["loc"]
    return f"{str(location[0]).upper()}: {message}" if location else message
