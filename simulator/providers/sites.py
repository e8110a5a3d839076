"""A simulated site: its hosts, paths, limits, keys and error bodies, all of them data."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.answers import Answer
from simulator.providers.asked import Asked

Answering = Callable[[Asked], Answer]


class Route(NamedTuple):
    """`pattern`: of the whole path; its groups are `Asked.words`."""

    method: str
    pattern: "re.Pattern[str]"
    answer: Answering


def get(pattern: str, answer: Answering) -> Route:
    return Route("GET", re.compile(pattern), answer)


def post(pattern: str, answer: Answering) -> Route:
    return Route("POST", re.compile(pattern), answer)


class Window(NamedTuple):
    """At most `quantity` requests of one client in `seconds`."""

    quantity: int
    seconds: float


class ErrorBody(NamedTuple):
    """A site's own words for a class of error."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}

    def answer(self) -> Answer:
        return Answer(self.status, self.body.encode(), self.content_type, dict(self.headers))


@dataclass(frozen=True, slots=True)
class Site:
    """What its hosts answer. `keys`: where a key may be (`header:x-api-key`, `query:apikey`,
    `bearer`, `path:` and a pattern with one group); without one a request is refused, unless
    `keyless`; each key has limits of its own. `errors`: its words for each class of error (see
    dialects), and `no_key` where they differ from those of `key_rejected`; `errors_for`: where they
    depend on the request. `suspends_s`: how long it refuses all of a client who broke a limit."""

    name: str
    hosts: tuple[str, ...]
    routes: Sequence[Route]
    limits: tuple[Window, ...] = ()
    keys: tuple[str, ...] = ()
    keyless: bool = True
    errors: Mapping[str, ErrorBody] = field(default_factory=dict)
    suspends_s: float = 0.0
    errors_for: Callable[[Asked], Mapping[str, ErrorBody]] | None = None
    weigh: Callable[[Asked], int] = lambda asked: 1

    def error(self, kind: str, asked: Asked) -> Answer | None:
        """Its words for a class of error, None if it has none of its own."""
        errors = self.errors if self.errors_for is None else self.errors_for(asked)
        found = errors.get(kind)
        return None if found is None else found.answer()

    def key_of(self, asked: Asked) -> str:
        """The key that the request carries in one of the site's places; "" for none."""
        for place in self.keys:
            kind, _, name = place.partition(":")
            found = ""
            if kind == "header":
                found = asked.headers.get(name.lower(), "")
            elif kind == "query":
                found = asked.query.get(name, "")
            elif kind == "bearer":
                found = asked.headers.get("authorization", "").removeprefix("Bearer ")
            elif kind == "path" and (match := re.search(name, asked.path)):
                found = match[1]
            if found:
                return found
        return ""
