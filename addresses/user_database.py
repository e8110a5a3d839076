"""Addresses of users' own databases: PostgreSQL, MySQL or MariaDB, and files of SQLite."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from addresses.database_url import DatabaseAddress, parse_database_url
from addresses.secrets import secrets_in
from addresses.url import IN_PASSWORDS, check_options, check_user, decoded, matching, only_host
from addresses.url import parse_url as _parse_url

Dialect = Literal["postgresql", "mysql", "sqlite"]
_MYSQL: Final = ("mysql", "mariadb")
_DRIVER: Final = re.compile(r"([a-z]+)\+[a-z0-9_]+(?=://)", re.IGNORECASE)
_OPTIONS: Final = {
    "charset": matching(r"utf8mb4|utf8mb3|utf8|latin1|ascii", "it must be a charset, as utf8mb4"),
    "connect_timeout": matching(r"[1-9]|[12][0-9]|30", "it must be 1 to 30 seconds"),
}
SCHEMES: Final = "postgresql://, mysql:// or sqlite:///"


@dataclass(frozen=True, slots=True)
class UserDatabaseAddress:
    """The parts of an address. `postgres`: of PostgreSQL, in asyncpg's terms. `path`: of SQLite's
    file, `:memory:` for none. The rest is of MySQL."""

    dialect: Dialect
    secrets: tuple[str, ...] = field(repr=False)
    postgres: DatabaseAddress | None = field(default=None, repr=False)
    path: str = ""
    host: str = ""
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    name: str = ""
    charset: str = "utf8mb4"
    connect_s: float | None = None


def parse_user_database(text: str) -> UserDatabaseAddress:
    """Raises ValueError, whose message has no part of the password."""
    text = text.strip()
    scheme = _DRIVER.sub(r"\1", text, count=1).partition("://")[0].lower()
    if "://" not in text or scheme not in ("postgresql", "postgres", "sqlite", *_MYSQL):
        raise ValueError(f"must be a URL with {SCHEMES}")
    if scheme == "sqlite":
        return UserDatabaseAddress("sqlite", (), path=_path(text.partition("://")[2]))
    secrets = tuple(secrets_in(text))
    if scheme in _MYSQL:
        return _mysql(_DRIVER.sub(r"\1", text, count=1), secrets)
    postgres = parse_database_url(text)
    return UserDatabaseAddress("postgresql", (*secrets, *postgres.secrets), postgres)


def _path(rest: str) -> str:
    if rest in ("", "/:memory:"):
        return ":memory:"
    if not rest.startswith("/") or "?" in rest or "#" in rest or len(rest) == 1:
        raise ValueError("must name a file: sqlite:///file.db here, or sqlite:////folder/file.db")
    return decoded(rest[1:])


def _mysql(text: str, secrets: tuple[str, ...]) -> UserDatabaseAddress:
    address = _parse_url(text, *_MYSQL)
    check_options(address.options, _OPTIONS)
    check_user(address)
    host, port = only_host(address)
    name = decoded(address.path[1:])
    if not name or "/" in name:
        raise ValueError(f"has a path that is not the name of one database; {IN_PASSWORDS}")
    connect_s = address.options.get("connect_timeout")
    return UserDatabaseAddress(
        "mysql",
        (*secrets, *([address.password] if address.password else [])),
        host=host,
        port=port,
        user=address.username,
        password=address.password,
        name=name,
        charset=address.options.get("charset", "utf8mb4"),
        connect_s=None if connect_s is None else float(connect_s),
    )
