"""Batches: calls that are made at the same time go to the database together, as one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

_Item = TypeVar("_Item")
_Answers = TypeVar("_Answers")
_MOST_AT_ONCE: Final = 200


class Batches(Generic[_Item, _Answers]):
    """While one call of `work` is on its way, items wait for the next one, which takes them all.

    An item that comes alone waits for nothing. What `work` returns, or raises, goes to each of its
    items' callers.
    """

    def __init__(self, work: Callable[[list[_Item]], Awaitable[_Answers]]) -> None:
        self._work = work
        self._waiting: list[tuple[_Item, asyncio.Future[_Answers]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def call(self, item: _Item) -> _Answers:
        """What `work` returns for the batch that `item` is in. Raises what it raises."""
        answer: asyncio.Future[_Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = (
                    self._waiting[:_MOST_AT_ONCE],
                    self._waiting[_MOST_AT_ONCE:],
                )
                await self._send_one(batch)
        finally:
            self._sending = None

    async def _send_one(self, batch: list[tuple[_Item, asyncio.Future[_Answers]]]) -> None:
        try:
            answers = await self._work([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for _, answer in batch:
            if not answer.done():
                answer.set_result(answers)
