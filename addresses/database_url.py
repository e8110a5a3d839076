"""DATABASE_URL: what the consoles of PostgreSQL providers hand out, in the terms of asyncpg."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from addresses.database_options import (
    KNOWN,
    OF_DRIVER,
    OF_SERVER,
    is_on,
)
from addresses.url import IN_PASSWORDS, Address, check_host, check_options, decoded, parse_url

_SCHEMES: Final = ("postgresql", "postgres")
_DRIVER: Final = re.compile(r"(postgres(?:ql)?)\+[a-z0-9_]+(?=://)", re.IGNORECASE)
_LONGEST_CONNECT_S: Final = 30
_VERIFYING: Final = ("verify-ca", "verify-full")
_ENCRYPTING: Final = ("require", *_VERIFYING)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A DATABASE_URL in the terms of asyncpg.

    `dsn` has only options that asyncpg knows. `system_roots`: the server's certificate and name
    are checked against this machine's own list of authorities. `search_path` is set in each
    transaction, because a transaction pooler forgets or refuses it elsewhere.
    """

    dsn: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    server_settings: Mapping[str, str]
    system_roots: bool
    search_path: str | None
    connect_s: float | None
    connections: int | None


def parse_database_url(text: str) -> DatabaseAddress:
    """Raises ValueError, whose message has no part of the password."""
    # SQLAlchemy's form names its driver: postgresql+asyncpg://.
    address = parse_url(_DRIVER.sub(r"\1", text, count=1), *_SCHEMES, several_hosts=True)
    options = dict(address.options)
    check_options(options, KNOWN)
    if "/" in address.path[1:]:
        raise ValueError(f"has a path that is not the name of one database; {IN_PASSWORDS}")
    host = options.pop("host", None)
    _check_hosts(host)
    _settle_tls(options)
    if "schema" in options and "search_path" in options:
        raise ValueError("has the options schema and search_path: give one of them")
    names = {name: options[name] for name in OF_DRIVER if name in options}
    if host is not None:
        # As in libpq, the option wins over what stands before the path.
        names["host"] = host
        ports = [str(port) for _, port in address.hosts if port is not None]
        if "port" not in names and len(ports) == 1:
            names["port"] = ports[0]
    if "schema" in options:
        options["search_path"] = '"{}"'.format(options["schema"].replace('"', '""'))
    most = int(options.get("connection_limit", "0"))
    return DatabaseAddress(
        dsn=_dsn(address, names, with_hosts=host is None),
        secrets=tuple(
            secret
            for secret in (address.password, options.get("password"), options.get("sslpassword"))
            if secret
        ),
        server_settings={name: options[name] for name in OF_SERVER if name in options},
        system_roots=options.get("sslrootcert") == "system",
        search_path=options.get("search_path"),
        connect_s=_connect_s(options),
        connections=most or None,
    )


def _check_hosts(hosts: str | None) -> None:
    for host in hosts.split(",") if hosts is not None else ():
        if not host.startswith("/"):
            check_host(host)


def _connect_s(options: Mapping[str, str]) -> float | None:
    """The option connect_timeout, where 0 means the longest."""
    if "connect_timeout" not in options:
        return None
    return float(min(int(options["connect_timeout"]) or _LONGEST_CONNECT_S, _LONGEST_CONNECT_S))


def _settle_tls(options: dict[str, str]) -> None:
    """Checks the TLS options against each other, and puts `ssl` into the words of `sslmode`."""
    if "ssl" in options:
        asked = options.pop("ssl")
        if is_on(asked) is not None:
            asked = "require" if is_on(asked) else "disable"
        if options.setdefault("sslmode", asked) != asked and asked != "require":
            raise ValueError("has the options ssl and sslmode, which contradict each other")
    root = options.get("sslrootcert")
    if root == "system":
        if options.get("sslmode", "verify-full") != "verify-full" or "sslcert" in options:
            raise ValueError(
                "has sslrootcert=system, which goes with sslmode=verify-full and without sslcert"
            )
    elif root is not None and not os.access(root, os.R_OK):
        raise ValueError("has the option sslrootcert, whose file cannot be read")
    mode = options.get("sslmode", "")
    if mode in _VERIFYING and root is None and not _has_default_root():
        raise ValueError(
            f"has sslmode={mode}, which needs the option sslrootcert: a file, or system for this "
            "machine's own list of authorities"
        )
    if options.get("sslnegotiation") == "direct" and mode not in _ENCRYPTING and root != "system":
        raise ValueError("has sslnegotiation=direct, which needs sslmode=require or verify-full")


def _has_default_root() -> bool:
    try:
        default = Path.home() / ".postgresql" / "root.crt"
        return "PGSSLROOTCERT" in os.environ or default.is_file()
    except (OSError, RuntimeError):
        return False


def _dsn(address: Address, options: Mapping[str, str], *, with_hosts: bool) -> str:
    hosts = address.netloc if with_hosts else ""
    known = dict(options)
    if known.get("sslrootcert") == "system":
        del known["sslrootcert"]
        known.pop("sslmode", None)
    path = quote(decoded(address.path))
    query = f"?{urlencode(known)}" if known else ""
    return f"postgresql://{address.userinfo}{hosts}{path}{query}"
