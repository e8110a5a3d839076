"""REDIS_URL: redis://, rediss:// or unix://, its database number and the options redis-py knows."""

import re
from collections.abc import Mapping
from ssl import VerifyFlags
from typing import Final
from urllib.parse import urlencode

from addresses.url import (
    ANY,
    COUNT,
    FLAG,
    PATH,
    Accepts,
    Address,
    check_options,
    decoded,
    matching,
    one_of,
    only_host,
    parse_url,
)

DEFAULT_PORT: Final = 6379
_SECONDS: Final = matching(r"[0-9]{1,9}(\.[0-9]+)?", "it must be a number of seconds")
_FLAGS: Final = Accepts(
    lambda value: all(flag.strip() in VerifyFlags.__members__ for flag in value.split(",")),
    f"it must be names of {', '.join(VerifyFlags.__members__)}, comma-separated",
)
_TLS: Final[dict[str, Accepts]] = {
    "ssl_cert_reqs": one_of("none", "optional", "required"),
    "ssl_check_hostname": FLAG,
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"), PATH),
    **dict.fromkeys(("ssl_ca_data", "ssl_password", "ssl_ciphers"), ANY),
    "ssl_min_version": one_of("769", "770", "771", "772"),  # ssl.TLSVersion: TLS 1.0 to 1.3
    **dict.fromkeys(("ssl_include_verify_flags", "ssl_exclude_verify_flags"), _FLAGS),
}
# Our clients set their own deadlines, retries and names, whatever these say.
_OURS: Final[Mapping[str, Accepts]] = {
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), _SECONDS),
    **dict.fromkeys(("health_check_interval", "max_connections", "socket_read_size"), COUNT),
    **dict.fromkeys(("retry_on_timeout", "decode_responses", "legacy_responses"), FLAG),
    **dict.fromkeys(("client_name", "lib_name", "lib_version"), ANY),
    **dict.fromkeys(("encoding", "encoding_errors"), ANY),
    "protocol": one_of("2", "3"),
}
_COMMON: Final[dict[str, Accepts]] = {"db": COUNT, "username": ANY, "password": ANY, **_OURS}
_KEEPALIVE: Final[dict[str, Accepts]] = {"socket_keepalive": FLAG}
_KNOWN: Final[Mapping[str, Mapping[str, Accepts]]] = {
    "redis": _COMMON | _KEEPALIVE,
    "rediss": _COMMON | _KEEPALIVE | _TLS,
    "unix": _COMMON,
}


def parse_redis_url(text: str) -> Address:
    """The parts of a REDIS_URL. Raises ValueError, whose message has no part of the password."""
    address = parse_url(text, "redis", "rediss", "unix")
    if address.scheme == "unix":
        if (
            address.hosts
            or not address.path.startswith("/")
            or not decoded(address.path).strip("/")
        ):
            raise ValueError("must be unix:// and the absolute path of the socket: unix:///run/...")
    else:
        only_host(address)
        if not re.fullmatch(r"/?|/[0-9]{1,9}", address.path):
            raise ValueError(
                "has a path that is not the number of a database, such as /0; in a password, / is "
                "written %2F"
            )
    tls_only = sorted(set(address.options) & set(_TLS))
    if address.scheme != "rediss" and tls_only:
        raise ValueError(f"has the option {tls_only[0]}, which needs rediss://")
    check_options(address.options, _KNOWN[address.scheme])
    for name, there in (("username", address.username), ("password", address.password)):
        if there and name in address.options:
            raise ValueError(f"has the {name} twice, before the host and as an option")
    if "db" in address.options and database_of(address) != int(address.options["db"]):
        raise ValueError("names two databases, in its path and in the option db")
    return address


def database_of(address: Address) -> int:
    """The number of the database that a REDIS_URL names; 0 by default."""
    number = "" if address.scheme == "unix" else address.path.strip("/")
    return int(number or address.options.get("db", "0"))


def driver_url(text: str) -> str:
    """The same address as redis-py must get it: encoded where it needs to be, without the options
    that our clients set themselves. Raises ValueError as `parse_redis_url`."""
    address = parse_redis_url(text)
    options = {name: value for name, value in address.options.items() if name not in _OURS}
    query = f"?{urlencode(options)}" if options else ""
    return f"{address.scheme}://{address.userinfo}{address.netloc}{address.path}{query}"
