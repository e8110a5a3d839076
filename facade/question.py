"""Question: what a caller asks an exchange for, and the refusals of what is no such question.

Nothing of a request but the parameters of a listed path goes any further, in an order of our own:
neither the host, nor the path, nor a header of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from facade.exchanges import FACADES
from facade.venue import Asked, FacadeVenue, PublicPath
from market.markets import Exchange

READING: Final = frozenset(("GET", "HEAD"))
_MOST_PARAMETERS: Final = 32
_LONGEST_VALUE: Final = 512  # a cursor has 60 characters
# Header fields of signed requests, of all exchanges; and what browsers send along unasked.
_KEYS: Final = (
    *("authorization", "proxy-authorization", "cookie", "apikey", "api-key", "api-sign"),
    *("x-api-key", "x-apikey", "ok-access-", "kc-api-", "x-auth-"),
    *(prefix for facade in FACADES.values() for prefix in facade.key_headers),
)
_KEY_HEADERS: Final = tuple(prefix.encode() for prefix in _KEYS)
# Parameters of signed requests, of all exchanges, as _plain() writes them.
_SIGNED: Final = frozenset(
    (
        *("signature", "sign", "apikey", "secret", "secretkey", "token", "passphrase"),
        *("accesstoken", "xmbxapikey", "xbapiapikey", "xbapisign"),
        *(word for facade in FACADES.values() for word in facade.signing),
    )
)
AUTHORIZATION: Final = b"authorization"
# The usual fields, which are many of all: looked up at once.
_USUAL: Final = frozenset(
    (b"host", b"user-agent", b"accept", b"accept-encoding", b"connection", b"content-type")
)


@dataclass(frozen=True, slots=True)
class Question:
    """`query`: the parameters that the path has. `target`: path and query, as the exchange is
    asked. `name`: the exchange and that. `asked`: what it means, None where the exchange alone
    knows."""

    facade: FacadeVenue
    path: PublicPath
    query: Mapping[str, str]
    target: str
    name: str
    asked: Asked | None

    @property
    def exchange(self) -> Exchange:
        return self.facade.exchange

    @property
    def symbol(self) -> str | None:
        """The exchange's id of the market that it is about; None: it names none."""
        return self.query.get(self.facade.symbol)


class Refused(Exception):
    """Why a request is none of these; answered with `status`, in the exchange's own form."""

    def __init__(self, status: int, cause: str) -> None:
        super().__init__(cause)
        self.status = status


def found_path(path: str) -> tuple[FacadeVenue, PublicPath | None] | None:
    """The exchange that a path of ours (/<exchange>/...) names, and which of its paths; None where
    it names none."""
    name, slash, rest = path[1:].partition("/")
    if not slash or name not in FACADES:
        return None
    facade = FACADES[Exchange(name)]
    return facade, facade.paths.get(f"/{rest}")


def check_headers(headers: Iterable[tuple[bytes, bytes]], *, spared: bytes = b"") -> None:
    """Raises Refused for a request that carries a key of any kind, or a body. `spared`: a field
    that is our own."""
    for name, value in headers:
        if name in _USUAL:
            continue
        if name.replace(b"_", b"-").startswith(_KEY_HEADERS) and name != spared:
            raise _carries_keys("a header field with a key or a cookie")
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0")):
            raise Refused(400, "a GET has no body here")


def check_query(query_string: bytes) -> list[tuple[str, str]]:
    """All parameters. Raises Refused for those of signed requests, and for what is no query."""
    pieces = [piece for piece in query_string.split(b"&") if piece]
    if len(pieces) > _MOST_PARAMETERS:
        raise Refused(400, f"more than {_MOST_PARAMETERS} parameters")
    found = []
    for piece in pieces:
        name, _, value = (_decoded(part) for part in piece.partition(b"="))
        if _plain(name) in _SIGNED:
            raise _carries_keys("parameters of signed requests")
        found.append((name, value))
    return found


def read_question(facade: FacadeVenue, path: PublicPath, query_string: bytes) -> Question:
    """Raises Refused."""
    query: dict[str, str] = {}
    for name, value in check_query(query_string):
        if name not in path.parameters:
            continue
        if name in query:
            raise Refused(400, f"parameter '{name}' was sent twice")
        query[name] = value
    return question_of(facade, path, query)


def question_of(facade: FacadeVenue, path: PublicPath, query: Mapping[str, str]) -> Question:
    """`query`: parameters that the path has, each once."""
    words = [f"{name}={quote(query[name], safe='')}" for name in sorted(query)]
    target = path.path + ("?" + "&".join(words) if words else "")
    read = facade.asked.get(path.path)
    asked = None if read is None else read(query)
    return Question(facade, path, query, target, f"{facade.exchange}{target}", asked)


def _plain(name: str) -> str:
    """A parameter's name, however it is written."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _decoded(part: bytes) -> str:
    """Raises Refused for what is no text that an exchange has names or values of."""
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Refused(400, "a parameter is not UTF-8") from None
    if len(text) > _LONGEST_VALUE or not text.isprintable():
        raise Refused(400, "a parameter is too long, or has unprintable characters")
    return text


def _carries_keys(what: str) -> Refused:
    return Refused(
        403,
        f"this request has {what}: only public market data is answered here, without keys; send "
        "signed requests to the exchange itself",
    )
