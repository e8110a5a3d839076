"""Settings: all environment variables with defaults and checks, read once at start."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from addresses.lists import parse_age_limits, parse_choice
from addresses.notify_urls import secrets_in_notify_url, split_notify_urls
from addresses.proxy import Proxy, is_spared, parse_proxy, parse_usual_proxy
from addresses.redis_parts import RedisParts
from addresses.secrets import secrets_in
from addresses.setting_types import (
    LEAST_IN_FLIGHT,
    BaseUrl,
    ByteSize,
    DatabaseUrl,
    ExchangeProxy,
    HeaderToken,
    HeartbeatUrl,
    Host,
    Hosts,
    IpAddress,
    Live,
    LogLevel,
    Modules,
    Networks,
    NotifyUrls,
    OnOff,
    Origins,
    PlainUrl,
    Prefix,
    Queues,
    Quiet,
    QuietCritical,
    RedisPort,
    RedisUrl,
    SchemaName,
    StreamUrl,
    Switch,
    UsualProxy,
    Words,
    Zone,
    read_by,
)
from addresses.web import parse_base_url, parse_stream_url, port_of, without_userinfo
from market.markets import (
    DEFAULT_EXCHANGES,
    LIVE_ADDRESSES,
    LIVE_ARCHIVE,
    STREAMED,
    Exchange,
)
from market.timeframes import Timeframe


class SettingsError(Exception):
    """Environment variables are invalid; `lines` has one line for each of them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _exchanges(value: str) -> tuple[Exchange, ...]:
    return tuple(Exchange(name) for name in parse_choice(value, list(Exchange)))


def _timeframes(value: str) -> tuple[Timeframe, ...]:
    """The named timeframes and those that come with them (4h and 8h), the finest first."""
    named = [Timeframe(name) for name in parse_choice(value, list(Timeframe))]
    made = {made for timeframe in named for made in timeframe.collected_as.produces}
    return tuple(timeframe for timeframe in Timeframe if timeframe in made)


def _age_limits(value: str) -> tuple[tuple[str, int], ...]:
    """Documents with the age (s) at which each counts as old; 0: never."""
    return parse_age_limits(value, (*Timeframe, "global_fr", "overview"))


# NoDecode: pydantic-settings would read a list as JSON.
Exchanges = Annotated[tuple[Exchange, ...], NoDecode, read_by(_exchanges)]
Timeframes = Annotated[tuple[Timeframe, ...], NoDecode, read_by(_timeframes)]
AgeLimits = Annotated[tuple[tuple[str, int], ...], NoDecode, read_by(_age_limits)]


_Loaded = TypeVar("_Loaded", bound=BaseSettings)


def _base_url_name(exchange: str) -> str:
    return f"{exchange}_base_url"


def _stream_url_name(exchange: str) -> str:
    return f"{exchange}_ws_url"


def _proxy_name(exchange: str) -> str:
    return f"{exchange}_proxy"


_EXCHANGES: Final = sorted({*Exchange, *STREAMED})

if TYPE_CHECKING:
    _ByExchange = BaseSettings
else:  # <EXCHANGE>_BASE_URL, <EXCHANGE>_PROXY and <EXCHANGE>_WS_URL for each exchange
    _ByExchange = create_model(
        "_ByExchange",
        __base__=BaseSettings,
        **{_base_url_name(exchange): (BaseUrl | None, None) for exchange in _EXCHANGES},
        **{_proxy_name(exchange): (ExchangeProxy | None, None) for exchange in _EXCHANGES},
        **{_stream_url_name(exchange): (StreamUrl | None, None) for exchange in STREAMED},
    )


class LiveSettings(_ByExchange):
    """The settings of live collectors, which programs of others use without the rest."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    log_level: LogLevel = "INFO"
    log_dir: Path | None = None
    log_cleanup: bool = True
    log_max_files: int = Field(30, ge=1, le=10_000)
    default_health_check_interval: float = Field(30, gt=0, le=86_400)
    max_silence_duration: float = Field(300, gt=0, le=86_400)
    max_reconnect_attempts: int = Field(5, ge=0, le=1_000_000)
    reconnect_delay: float = Field(5, gt=0, le=3600)

    # How the exchanges are reached; and <EXCHANGE>_BASE_URL, <EXCHANGE>_WS_URL, <EXCHANGE>_PROXY.
    http_proxy: UsualProxy | None = None
    https_proxy: UsualProxy | None = None
    no_proxy: str = ""
    egress_address: IpAddress | None = None  # of this host, where it has several

    def base_url(self, exchange: str) -> str | None:
        """The exchange's REST address from <EXCHANGE>_BASE_URL, without user and password; None
        if it is not set."""
        address: SecretStr | None = getattr(self, _base_url_name(exchange))
        return without_userinfo(address.get_secret_value()) if address else None

    def stream_url(self, exchange: str) -> SecretStr | None:
        """<EXCHANGE>_WS_URL, the address of the exchange's streams, with user and password."""
        address: SecretStr | None = getattr(self, _stream_url_name(exchange))
        return address

    def base_credentials(self, exchange: str) -> tuple[str, str] | None:
        """User and password of <EXCHANGE>_BASE_URL; None if it has none."""
        secret: SecretStr | None = getattr(self, _base_url_name(exchange))
        address = parse_base_url(secret.get_secret_value(), userinfo=True) if secret else None
        if address is None or not address.userinfo:
            return None
        return address.username or "", address.password or ""

    def proxy(self, exchange: str, base_url: str) -> Proxy | None:
        """The proxy through which the exchange is asked at `base_url` (http, https, ws, wss), if
        any."""
        own: SecretStr | None = getattr(self, _proxy_name(exchange))
        if own is not None:
            return parse_proxy(own.get_secret_value())
        return self.usual_proxy(base_url)

    def usual_proxy(self, base_url: str) -> Proxy | None:
        """The proxy of HTTP_PROXY or HTTPS_PROXY through which others are asked, if any."""
        is_stream = base_url.startswith("ws")
        parse = parse_stream_url if is_stream else parse_base_url
        address = parse(base_url, userinfo=False)
        usual = self.https_proxy if address.scheme in ("https", "wss") else self.http_proxy
        if usual is None:
            return None
        if is_spared(address.hosts[0][0], port_of(address), self.no_proxy):
            return None
        return parse_usual_proxy(usual.get_secret_value())

    def secrets(self) -> list[str]:
        """Every secret among the settings: tokens, and the passwords of addresses."""
        found: list[str] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                text = value.get_secret_value()
                if name in ("notify_urls", "heartbeat_url"):
                    for url in split_notify_urls(text):
                        found += secrets_in_notify_url(url)
                    continue
                if name in ("http_proxy", "https_proxy") and "://" not in text:
                    text = f"http://{text}"
                found += secrets_in(text)
        return found


def _retention_name(what: str) -> str:
    return f"retention_{what}_days"


_RETAINED: Final = (*map(str, Timeframe), "open_interest", "funding")

if TYPE_CHECKING:
    _WithRetention = LiveSettings
else:  # RETENTION_<TIMEFRAME>_DAYS and so on: how long the record keeps what; 0: for ever
    _Days = Annotated[int, Field(ge=0, le=36_500)]
    _WithRetention = create_model(
        "_WithRetention",
        __base__=LiveSettings,
        **{_retention_name(what): (_Days, 0) for what in _RETAINED},
    )


class Settings(_WithRetention):
    """All settings; docs/settings.md describes them."""

    # This process.
    host: Host = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    web_concurrency: int = Field(1, ge=1, le=64)
    data_dir: Path = Path("data")
    log_format: Literal["console", "json"] = "console"

    # Stores.
    redis_url: RedisUrl | None = None
    redis_host: Host | None = None  # these four are turned into a redis_url
    redis_port: RedisPort = None
    redis_password: SecretStr | None = None
    redis_db: int | None = Field(None, ge=0)
    upstash_redis_rest_url: PlainUrl | None = None
    upstash_redis_rest_token: HeaderToken | None = None
    upstash_poll_s: float = Field(5, ge=0.1, le=3600)
    redis_prefix: Prefix = ""
    installation_id: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    database_url: DatabaseUrl | None = None
    history_database_url: DatabaseUrl | None = None  # a replica for GET /api/historical
    core_db_host: str | None = None  # only to say what to set in its place

    # What is collected.
    exchanges: Exchanges = DEFAULT_EXCHANGES
    timeframes: Timeframes = tuple(Timeframe)  # of the job of all timeframes
    quote: str = Field("USDT", pattern=r"^[A-Z0-9]{2,10}$")
    markets_limit: int = Field(0, ge=0)
    history_candles: int = Field(499, ge=1, le=5000)
    funding_history: int = Field(400, ge=1, le=5000)
    # Whether candles have the columns of market/columns.py's TRADE_VALUES, as FACADE=on implies.
    trade_columns: Switch = False

    # The exchanges' own addresses, answered from the cache: whether they are, how old a forming
    # candle may be for that, and which part of what collection leaves of an exchange's limits the
    # requests may use that are passed through.
    facade: Switch = False
    facade_forming_s: float = Field(60, gt=0, le=3600)
    facade_fraction: float = Field(0.3, gt=0, le=1)

    # Whether closed candles come from the exchanges' streams; `auto`: see live_exchanges.
    live: Live = "auto"
    live_retention_days: int = Field(7, ge=0, le=36_500)  # of the output postgres; 0: for ever
    # A TOML file of collectors, which the live process runs.
    collectors: Path | None = None

    # What is kept of all that was published: whether anything is, how much of it waits in the hot
    # store while the database is away, and how long its entries stay in the database.
    history: OnOff = "on"
    journal_bytes: ByteSize = Field(100_000_000, ge=1_000_000)
    journal_days: int = Field(7, ge=0, le=36_500)

    # Binance's public archive of files, and where its bucket is listed: see archive_addresses.
    archive_url: PlainUrl = LIVE_ARCHIVE
    archive_listing_url: PlainUrl | None = None

    # How the exchanges are asked.
    concurrency_limit: int = Field(20, ge=1, le=200)
    rate_fraction: float = Field(0.9, gt=0, le=1)
    backfill_fraction: float = Field(0.5, gt=0, le=1)  # of what rate_fraction leaves
    egress_id: str = Field("default", pattern=r"^[A-Za-z0-9._-]{1,64}$")

    # What runs when: whether schedules fire, which modules have workers of users, which queues this
    # host serves beside `default` and `egress:<EGRESS_ID>`, and the zone of schedules without one.
    schedules: OnOff = "on"
    workers: Modules = ()
    worker_queues: Queues = ()
    schedule_tz: Zone = "UTC"
    ui_timeframes: Timeframes = (Timeframe.M5, Timeframe.M15, Timeframe.H1)
    history_timeframes: Timeframes = tuple(Timeframe)
    pgqueuer_schema: SchemaName = "engine"
    run_log_days: int = Field(30, ge=0, le=36_500)  # of execution_log; 0: for ever
    run_history_days: int = Field(90, ge=0, le=36_500)  # of worker_run; 0: for ever

    # Providers of prices, news and the like: `on`, `off`, or a TOML file of rows that add to the
    # registry; where all of them are asked instead (the simulator); what the agent asks about.
    providers: str = Field("on", min_length=1)
    providers_base_url: PlainUrl | None = None
    agent_assets: Words = ("btc", "eth", "bnb", "sol", "xrp")
    agent_chains: Words = (*("ethereum", "bsc", "polygon", "arbitrum", "base", "bitcoin", "tron"),)
    whale_min_usd: int = Field(1_000_000, ge=1, le=10**12)
    provider_days: int = Field(365, ge=0, le=36_500)  # of what they told; 0: for ever

    # Clients.
    cron_secret: SecretStr | None = None
    api_token: SecretStr | None = None
    read_token: SecretStr | None = None
    cors_origins: Origins = ()
    trusted_proxies: Networks = (ip_network("127.0.0.0/8"), ip_network("::1"))
    allowed_hosts: Hosts = ()
    max_bytes_in_flight: ByteSize = Field(10**9, ge=LEAST_IN_FLIGHT)
    max_waits_per_client: int = Field(100, ge=1, le=100_000)
    max_listeners_per_client: int = Field(200, ge=1, le=100_000)
    max_provider_calls_per_client: int = Field(120, ge=1, le=100_000)  # a minute

    # What the operator is told: where, when, when once more, when not, how many messages in a
    # minute; and where the service is reached from outside, for links.
    notify_urls: NotifyUrls | None = None
    notify_after_s: float | None = Field(None, ge=0, le=86_400)
    notify_again_s: float = Field(3600, ge=1, le=30 * 86_400)
    notify_over_s: float | None = Field(None, ge=0, le=86_400)
    notify_quiet: Quiet | None = None
    notify_quiet_critical: QuietCritical = "tell"
    notify_digest: int = Field(3, ge=1, le=60)
    heartbeat_url: HeartbeatUrl | None = None
    public_url: PlainUrl | None = None

    # Jobs.
    worker_lock_ttl_s: float = Field(15, ge=1, le=300)
    min_refresh_s: float = Field(2, ge=0, le=3600)
    fr_refresh_on_start: bool = True
    worker_memory_mb: int = Field(512, ge=0, le=1_000_000)

    # What counts as a problem: documents older than this, which wins over what their schedules
    # imply, less room on the disk of DATA_DIR, and publishes that wait longer to be recorded.
    document_age_limits: AgeLimits = ()
    disk_free_min: ByteSize = Field(2 * 10**9, ge=0)
    history_late_s: float = Field(900, ge=1, le=30 * 86_400)

    @model_validator(mode="after")
    def _one_of_each_store(self) -> "Settings":
        upstash = (self.upstash_redis_rest_url, self.upstash_redis_rest_token)
        if any(upstash) and not all(upstash):
            raise ValueError(
                "UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN go together: set both"
            )
        if self.redis_url and any(upstash):
            raise ValueError("REDIS_URL and UPSTASH_REDIS_REST_URL exclude each other: set one")
        if self.redis_host and any(upstash):
            raise ValueError("REDIS_HOST and UPSTASH_REDIS_REST_URL exclude each other: set one")
        if self.core_db_host and not self.database_url:
            raise ValueError(
                "CORE_DB_HOST: is not read; set DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/"
                "NAME in its place, user and password percent-encoded"
            )
        return self

    @model_validator(mode="after")
    def _redis_in_parts(self) -> "Settings":
        """Makes a REDIS_URL of REDIS_HOST and its like; a given one must not contradict them."""
        password = self.redis_password.get_secret_value() if self.redis_password else None
        parts = RedisParts(self.redis_host, self.redis_port, password, self.redis_db)
        if self.redis_url:
            if differing := parts.differing_from(self.redis_url.get_secret_value()):
                raise ValueError(
                    f"REDIS_URL and {differing} contradict each other: set one of them"
                )
        elif url := parts.url():
            # Settings are frozen for everybody else.
            object.__setattr__(self, "redis_url", SecretStr(url))
        return self

    @model_validator(mode="after")
    def _columns_of_the_facade(self) -> "Settings":
        """The exchanges' own addresses tell the columns of trades."""
        if self.facade:
            object.__setattr__(self, "trade_columns", True)
        return self

    @model_validator(mode="after")
    def _streams_of_the_same_exchange(self) -> "Settings":
        """LIVE=on must not feed the live exchange's candles into those of another server."""
        addresses = self.exchange_addresses()
        names = [
            f"{exchange.upper()}_WS_URL"
            for exchange in self.exchanges
            if self.stream_url(exchange) is None and addresses[exchange] != LIVE_ADDRESSES[exchange]
        ]
        if self.live == "on" and names:
            raise ValueError(
                f"LIVE=on needs {' and '.join(names)} where another REST address is set: candles of"
                " two servers must not mix"
            )
        return self

    @property
    def api_names(self) -> list[str]:
        """The names of the API processes behind one listener."""
        return [f"api-{number}" for number in range(1, self.web_concurrency + 1)]

    @property
    def embeds_hot_store(self) -> bool:
        """Whether no setting names a hot store, so that the embedded one of DATA_DIR is used."""
        return self.redis_url is None and self.upstash_redis_rest_url is None

    @property
    def live_exchanges(self) -> list[Exchange]:
        """The exchanges whose candles are fed by streams. LIVE=auto: those whose address of streams
        is set, or of which the live REST address is used; the latter not over Upstash, which bills
        every command."""
        if self.live == "off":
            return []
        addresses = self.exchange_addresses()
        return [
            exchange
            for exchange in self.exchanges
            if self.live == "on"
            or self.stream_url(exchange) is not None
            or (
                addresses[exchange] == LIVE_ADDRESSES[exchange]
                and self.upstash_redis_rest_url is None
            )
        ]

    def retention_days(self, what: str) -> int:
        """How long the record keeps the candles of a timeframe, `open_interest` or `funding`; 0:
        for ever."""
        days: int = getattr(self, _retention_name(what))
        return days

    def documents_hold(self) -> dict[str, str]:
        """The settings that decide what the documents hold, by name."""
        return {
            "QUOTE": self.quote,
            "EXCHANGES": ",".join(sorted(self.exchanges)),
            "MARKETS_LIMIT": str(self.markets_limit),
            "HISTORY_CANDLES": str(self.history_candles),
            "FUNDING_HISTORY": str(self.funding_history),
            "TRADE_COLUMNS": "on" if self.trade_columns else "off",
        }

    def exchange_addresses(self) -> dict[str, str]:
        """The REST addresses of the exchanges to collect from, without passwords, by exchange."""
        return {
            str(exchange): self.base_url(exchange) or LIVE_ADDRESSES[exchange]
            for exchange in self.exchanges
        }


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`; `overrides` take precedence.

    Raises SettingsError with one line for each invalid variable, without its value.
    """
    return _loaded(Settings, overrides)


def load_live_settings(**overrides: Any) -> LiveSettings:
    """As `load_settings`, but of live collectors alone: no other variable is read or checked."""
    return _loaded(LiveSettings, overrides)


def _loaded(kind: type[_Loaded], overrides: dict[str, Any]) -> _Loaded:
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise SettingsError([_error_line(detail) for detail in error.errors()]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([f".env cannot be read: {reason}"]) from None


def _error_line(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    location = detail["loc"]
    return f"{str(location[0]).upper()}: {message}" if location else message
