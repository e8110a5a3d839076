"""REDIS_HOST, REDIS_PORT, REDIS_PASSWORD and REDIS_DB: the parts of a REDIS_URL."""

from dataclasses import dataclass, field
from urllib.parse import quote

from addresses.redis_url import DEFAULT_PORT, database_of, parse_redis_url
from addresses.url import written_host


@dataclass(frozen=True, slots=True)
class RedisParts:
    """The parts that are set; the others are None."""

    host: str | None
    port: int | None
    password: str | None = field(repr=False)
    database: int | None

    def url(self) -> str | None:
        """The REDIS_URL of these parts, None if none is set. Raises ValueError without a host."""
        if self.host is None:
            given = {"PORT": self.port, "PASSWORD": self.password, "DB": self.database}
            without = [f"REDIS_{name}" for name, value in given.items() if value is not None]
            if without:
                raise ValueError(
                    f"{' and '.join(without)} without REDIS_HOST: set it, or REDIS_URL"
                )
            return None
        netloc = written_host(self.host, self.port or DEFAULT_PORT)
        userinfo = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{userinfo}{netloc}/{self.database or 0}"

    def differing_from(self, url: str) -> str | None:
        """The name of the first part that is set to something else than `url` says."""
        address = parse_redis_url(url)
        host, port = address.hosts[0] if address.hosts else (None, None)
        password = address.password or address.options.get("password")
        pairs = {
            "REDIS_HOST": (self.host and self.host.lower(), host and host.lower()),
            "REDIS_PORT": (self.port, port or DEFAULT_PORT),
            "REDIS_PASSWORD": (self.password, password),
            "REDIS_DB": (self.database, database_of(address)),
        }
        return next((n for n, (ours, its) in pairs.items() if ours not in (None, its)), None)
