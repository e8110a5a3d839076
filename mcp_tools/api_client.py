"""Asks a running service: one GET of a fixed path, within a deadline, with a bounded answer."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson

DEADLINE_S: Final = 20.0
LARGEST_ANSWER: Final = 32 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024
_LONGEST_DETAIL: Final = 600


class Unanswered(Exception):
    """The service did not answer, or not with what was asked for; the text is for the caller.
    `status`: that of its answer, if there was one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answered:
    """A JSON object, how old the service says that it is, in seconds, and what the time was there
    (UTC ms, of whole seconds)."""

    value: dict[str, Any]
    age_s: float | None
    at_ms: int


class ApiClient:
    """Asks the service at `url`, with `token` if it wants one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(
        self,
        *path: str,
        query: Mapping[str, str | int | None],
        asked_as: Mapping[str, str] = MappingProxyType({}),
    ) -> Answered:
        """The object at a path, whose parts are quoted; parameters without a value are left out.
        `asked_as`: what the caller knows parameters as, by their names at the service.

        Raises Unanswered.
        """
        where = "/".join(quote(part, safe="") for part in path)
        named = {name: str(value) for name, value in query.items() if value is not None}
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                self._session.get(
                    f"{self._url}/{where}",
                    params=named,
                    headers=self._headers,
                    allow_redirects=False,
                ) as answer,
            ):
                body = await _whole(answer)
                status, age = answer.status, answer.headers.get("Age", "")
                at_ms = _moment_ms(answer.headers.get("Date", ""))
        except TimeoutError:
            raise Unanswered(f"the service did not answer within {DEADLINE_S:g} s") from None
        except aiohttp.ClientError as error:
            raise Unanswered(
                f"the service cannot be reached at {self._url} ({type(error).__name__}): is it"
                " running, and is --url right?"
            ) from None
        found = _object(body)
        if status != 200:
            raise Unanswered(_refusal(status, found, asked_as), status)
        if found is None:
            raise Unanswered("the service's answer is no JSON object: is --url a Perpcache?")
        return Answered(found, float(age) if age.isdecimal() else None, at_ms)


def _moment_ms(date: str) -> int:
    """Of an HTTP date; that of here where the service sends none."""
    try:
        return round(parsedate_to_datetime(date).timestamp() * 1000)
    except ValueError:
        return round(time.time() * 1000)


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in answer.content.iter_chunked(_READ_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise Unanswered(
                f"the service's answer is larger than {LARGEST_ANSWER >> 20} MB: ask for less"
            )
    return b"".join(pieces)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _refusal(status: int, found: dict[str, Any] | None, asked_as: Mapping[str, str]) -> str:
    """What the service says of a question that it does not answer."""
    if status == 401:
        return "the service wants a token: set READ_TOKEN where this server runs"
    detail = (found or {}).get("detail")
    if isinstance(detail, list):
        detail = "; ".join(
            f"{_place(each.get('loc', ()), asked_as)}: {_words(each.get('msg'), asked_as)}"
            for each in detail
            if isinstance(each, dict)
        )
    text = detail if isinstance(detail, str) and detail else "without a reason"
    return f"the service answered {status}: {text[:_LONGEST_DETAIL]}"


def _place(loc: Sequence[Any], asked_as: Mapping[str, str]) -> str:
    return ".".join(asked_as.get(str(each), str(each)) for each in loc[1:])


def _words(text: object, asked_as: Mapping[str, str]) -> str:
    words = str(text)
    for name, asked in asked_as.items():
        words = words.replace(f"`{name}`", f"`{asked}`")
    return words
