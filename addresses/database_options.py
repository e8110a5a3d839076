"""The options of a DATABASE_URL: of asyncpg, of libpq, of the server, of poolers and of ORMs."""

from collections.abc import Mapping
from typing import Final

from addresses.url import ANY, COUNT, FLAG, PATH, Accepts, matching, one_of

_TLS_VERSIONS: Final = one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_NAME: Final = Accepts(
    lambda value: value.isprintable() and 0 < len(value.encode()) <= 63, "it must be a name"
)
_PORTS: Final = Accepts(
    lambda value: all(
        port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535
        for port in value.split(",")
    ),
    "it must be a number from 1 to 65535",
)
_DURATION: Final = matching(
    r"[0-9]{1,9}(us|ms|s|min|h|d)?", "it must be a number, such as 5000 or 5s"
)

# Handed to asyncpg as they are.
OF_DRIVER: Final[Mapping[str, Accepts]] = {
    "sslmode": one_of(*_MODES),
    "sslrootcert": ANY,  # checked together with sslmode
    **dict.fromkeys(("sslcert", "sslkey", "sslcrl", "passfile"), PATH),
    "sslpassword": ANY,
    "sslnegotiation": one_of("postgres", "direct"),
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), _TLS_VERSIONS),
    "target_session_attrs": one_of(
        *("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
    ),
    "port": _PORTS,
    **dict.fromkeys(("user", "password", "dbname", "database", "krbsrvname", "service"), ANY),
    "gsslib": one_of("gssapi", "sspi"),
}
# Settings of the server's session, sent when a connection opens.
OF_SERVER: Final[Mapping[str, Accepts]] = {
    **dict.fromkeys(("application_name", "options", "role", "timezone", "work_mem"), ANY),
    **dict.fromkeys(
        ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"), _DURATION
    ),
    "idle_session_timeout": _DURATION,
    "jit": matching("on|off|true|false|[01]", "it must be on or off"),
}
# What our own pool does with its connections.
OF_CONNECTIONS: Final[Mapping[str, Accepts]] = {
    "host": ANY,  # each of them is checked as a host
    "connect_timeout": COUNT,
    "connection_limit": COUNT,
    "schema": _NAME,
    "search_path": ANY,
    "ssl": Accepts(
        lambda value: is_on(value) is not None or value in _MODES, "as sslmode, or true"
    ),
}
# Needless here, but in what consoles hand out: asyncpg has no channel binding and no keep-alives
# of its own, our pool has its own sizes and deadlines, and keeps no prepared statements.
_WITHOUT_EFFECT: Final[Mapping[str, Accepts]] = {
    "channel_binding": one_of("disable", "prefer", "require"),
    "keepalives": FLAG,
    **dict.fromkeys(("keepalives_idle", "keepalives_interval", "keepalives_count"), COUNT),
    "tcp_user_timeout": COUNT,
    "client_encoding": matching("utf-?8|auto", "it must be utf8"),
    "fallback_application_name": ANY,
    "gssencmode": one_of("disable", "prefer"),
    **dict.fromkeys(("sslcompression", "sslsni"), FLAG),
    "load_balance_hosts": one_of("disable", "random"),
    **dict.fromkeys(("pgbouncer", "prepared_statements", "uselibpqcompat"), FLAG),
    **dict.fromkeys(("pool_timeout", "socket_timeout", "prepareThreshold"), COUNT),
    **dict.fromkeys(("statement_cache_size", "prepared_statement_cache_size"), COUNT),
    **dict.fromkeys(("supa", "workaround"), ANY),  # they tell Supabase who asks
}
KNOWN: Final[Mapping[str, Accepts]] = {
    **OF_DRIVER,
    **OF_SERVER,
    **OF_CONNECTIONS,
    **_WITHOUT_EFFECT,
}


def is_on(value: str) -> bool | None:
    """Whether a word means yes or no; None for any other."""
    if not FLAG.accepts(value):
        return None
    return value.lower() in ("true", "yes", "t", "y", "1")
