"""Makes the HTTP requests of a row for a question: templates filled, keys in their places.

It asks nobody. What it makes holds keys: only `shown` may be logged, stored or told.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from providers.assets import Assets
from providers.naming import OF_REQUESTS, OF_SUBJECTS, Named, named, texts_in
from providers.paths import filled, placeholders
from providers.questions import Question
from providers.readers.rpc_calls import BODIES
from providers.resources import KeyPlace, Resource
from texts.redaction import Redactor

_SAFE: Final = ":,/-._~|"  # what ids are made of, and providers expect as it is
_AGENT: Final = "perpcache"
_DEFAULT_HEADERS: Final = {"Accept": "application/json", "User-Agent": _AGENT}
_OF_ONE: Final = ("id", "address", "address_lower", "address_0x")
_FEED: Final = "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5"


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """`subjects`: which it is about; `part`: which of the row's requests it is, for Asked. `shown`:
    method and URL without the key."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    subjects: tuple[str, ...]
    shown: str
    part: int = 0


def requests_of(
    resource: Resource,
    question: Question,
    assets: Assets,
    key: str | None = None,
    base_url: str | None = None,
    node: Resource | None = None,
) -> list[PreparedRequest]:
    """The requests that bring the answer: one for each batch of subjects, and each `also` of the
    row. None where the row answers for no subject.

    `node`: of a row that is asked through another chain (`via`): the row of the node, whose URL and
    key are taken. `base_url`: PROVIDERS_BASE_URL; `https://host/path` becomes `<base>/<host>/path`.
    """
    found = [
        name
        for subject in question.subjects
        if (name := named(resource, question, subject, assets)) is not None
    ]
    if resource.reader == "own":
        return []
    made: list[PreparedRequest] = []
    size = max(1, resource.batch)
    for start in range(0, len(found), size):
        batch = found[start : start + size]
        made.extend(_requests(resource, question, batch, key, base_url, node or resource))
    return made


def secrets_shown(text: str, key: str | None) -> str:
    """The text without the key, in any form in which a URL or a library repeats it."""
    return text if key is None else Redactor([key]).clean(text)


def mistakes_of_request(resource: Resource) -> Iterator[tuple[str, str]]:
    """What a row's templates say that cannot be, each as the key and the reason."""
    known = OF_SUBJECTS | OF_REQUESTS
    parts = resource.read.get("also", ())
    also = [each.get("url", "") for each in parts if isinstance(each, Mapping)]
    for at, template in (
        ("url", [resource.url, *also]),
        ("headers", resource.headers),
        ("query", resource.query),
        ("body", resource.body),
    ):
        for name in [name for text in texts_in(template) for name in placeholders(text)]:
            if name not in known:
                yield at, f"nothing fills {{{name}}}; there are {', '.join(sorted(known))}"
            elif name.startswith("id") and "id" not in resource.read:
                yield at, f"{{{name}}} needs read.id: how its provider names a subject"
            elif name in _OF_ONE and resource.batch > 1:
                yield at, f"{{{name}}} is of one subject, and batch is {resource.batch}"


def _requests(
    resource: Resource,
    question: Question,
    batch: list[Named],
    key: str | None,
    base_url: str | None,
    node: Resource,
) -> Iterator[PreparedRequest]:
    values = {**batch[0].values, **_of_batch(resource, batch)}
    subjects = tuple(name.subject for name in batch)
    secret = {**values, "key": key or ""}
    headers = {**_DEFAULT_HEADERS, **_feed_headers(resource)}
    headers |= {name: filled(text, secret) for name, text in node.headers.items()}
    query = {name: filled(text, secret) for name, text in node.query.items()}
    _add_key(node, key, headers, query)
    body = _body(resource, question, values, secret)
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    url = _url(node.url, secret, query)
    yield _request(node.method, url, headers, body, subjects, key, base_url, node.private, 0)
    for part, also in enumerate(resource.read.get("also", ()), start=1):
        url = _url(also["url"], secret, query)
        yield _request("GET", url, headers, None, subjects, key, base_url, node.private, part)


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    subjects: tuple[str, ...],
    key: str | None,
    base_url: str | None,
    private: bool,
    part: int,
) -> PreparedRequest:
    shown = f"{method} {_host_of(url) if private else secrets_shown(url, key)}"
    if base_url is not None:
        url = through(base_url, url)
    return PreparedRequest(method, url, headers, body, subjects, shown, part)


def _host_of(url: str) -> str:
    """Of rows of the operator's own: their URLs may hold a key that nobody else knows to be one."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def through(base_url: str, url: str) -> str:
    """`https://host/path` as `<base>/host/path`: where all providers are imitated on one port."""
    parts = urlsplit(url)
    asked = f"?{parts.query}" if parts.query else ""
    return f"{base_url.rstrip('/')}/{parts.netloc}{parts.path or '/'}{asked}"


def _of_batch(resource: Resource, batch: list[Named]) -> dict[str, str]:
    ids = [name.values["id"] for name in batch if "id" in name.values]
    return {
        "ids": str(resource.read.get("join", ",")).join(ids),
        "ids_pipe": "|".join(ids),
        "ids_json": json.dumps(ids, separators=(",", ":")),
    }


def _feed_headers(resource: Resource) -> dict[str, str]:
    return {"Accept": _FEED} if resource.reader == "rss" else {}


def _add_key(
    node: Resource, key: str | None, headers: dict[str, str], query: dict[str, str]
) -> None:
    slot = node.key
    if slot is None or key is None:
        return
    if slot.place is KeyPlace.BEARER:
        headers["Authorization"] = f"Bearer {key}"
    elif slot.place is KeyPlace.HEADER and slot.name is not None:
        headers[slot.name] = key
    elif slot.place is KeyPlace.QUERY and slot.name is not None:
        query[slot.name] = key


def _url(template: str, values: Mapping[str, str], query: Mapping[str, str]) -> str:
    path = filled(template, {name: quote(text, safe=_SAFE) for name, text in values.items()})
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(query, quote_via=quote, safe=_SAFE)}"


def _body(
    resource: Resource, question: Question, values: Mapping[str, str], secret: Mapping[str, str]
) -> bytes | None:
    made: Any
    if (make := BODIES.get(resource.reader)) is not None:
        made = make(resource, question, values)
    elif resource.body is not None:
        made = _filled_body(resource.body, secret)
    else:
        return None
    return made.encode() if isinstance(made, str) else json.dumps(made).encode()


def _filled_body(template: Any, values: Mapping[str, str]) -> Any:
    if isinstance(template, str):
        return filled(template, values) if placeholders(template) else template
    if isinstance(template, Mapping):
        return {name: _filled_body(each, values) for name, each in template.items()}
    if isinstance(template, list | tuple):
        return [_filled_body(each, values) for each in template]
    return template
