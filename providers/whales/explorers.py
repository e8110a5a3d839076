"""Requests to explorers whose rows are read by code of ours: paths below a row's URL."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from providers.errors import ErrorClass, ProviderError
from providers.exact import BadValue, NotJson, json_of
from providers.gate import Skipped
from providers.http import Response
from providers.questions import Question
from providers.requests import PreparedRequest
from providers.resources import Resource
from providers.whales.scanning import Deadline
from timing.clock import Clock

_PAUSE_S: Final = 0.5  # until a budget of some requests a second is asked again
_OFF_LOOP_BYTES: Final = 2**16

T = TypeVar("T")


class Sender(Protocol):
    """What is needed of providers.client."""

    @property
    def clock(self) -> Clock: ...
    def prepared(self, resource: Resource, question: Question) -> list[PreparedRequest]: ...
    async def send(
        self,
        resource: Resource,
        request: PreparedRequest,
        *,
        within_s: float,
        read: Callable[[Response], Any],
    ) -> Any: ...


class Explorers:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.clock = sender.clock

    async def get(
        self,
        row: Resource,
        path: str,
        parse: Callable[[Any], T],
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        decode: Callable[[bytes], Any] = json_of,
    ) -> T:
        """What `parse` makes of the JSON there, or of what `decode` makes of the body. A budget
        that is used up for a moment is waited for. Raises ProviderError, also for what `parse`
        cannot read (BadValue), and Skipped."""
        asked = replace(
            row,
            method="GET" if body is None else "POST",
            url=row.url + path,
            query=query or {},
            body=body,
            reader="json",
        )
        network = row.chain.partition(".")[2]
        (request,) = self._sender.prepared(asked, Question(row.chain, (network,)))

        async def read(answer: Response) -> T:
            if len(answer.body) > _OFF_LOOP_BYTES:
                return await asyncio.to_thread(_parsed, row, answer.body, parse, decode)
            return _parsed(row, answer.body, parse, decode)

        while True:
            left_s = deadline.left_s
            if left_s <= 0:
                raise ProviderError(ErrorClass.TRANSIENT, f"{row.id}: no time is left")
            try:
                found: T = await self._sender.send(row, request, within_s=left_s, read=read)
                return found
            except Skipped as error:
                if error.reason != "no_budget" or deadline.left_s <= _PAUSE_S:
                    raise
            await self.clock.sleep(_PAUSE_S)


def text_of(body: bytes) -> str:
    return body.decode("ascii", "replace").strip()


def _parsed(
    row: Resource, body: bytes, parse: Callable[[Any], T], decode: Callable[[bytes], Any]
) -> T:
    try:
        return parse(decode(body))
    except NotJson as error:
        class_ = ErrorClass.TRANSIENT if error.cut_off else ErrorClass.BAD_PAYLOAD
        raise ProviderError(class_, f"{row.id}: {error}") from None
    except (BadValue, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ProviderError(
            ErrorClass.BAD_PAYLOAD, f"{row.id}: it has another form: {error}"
        ) from None
