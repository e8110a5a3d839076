"""MadeAnswers: bodies that were made or passed through, limited in bytes; each is made once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

_ENTRY_BYTES: Final = 600  # of an entry beside its body


@dataclass(frozen=True, slots=True)
class MadeAnswer:
    """`body`: without its closing; None where the exchange is to be asked. `checked_at_ms`: when it
    was, by its time. `until_ms`: from when its answer may be another. `is_kept`: whether a question
    of the same key has the same answer until then."""

    body: bytes | None
    checked_at_ms: int
    until_ms: int
    is_kept: bool = True


NO_ANSWER: Final = MadeAnswer(None, 0, 0)
NOT_YET: Final = MadeAnswer(None, 0, 0, is_kept=False)


class MadeAnswers:
    """Answers by question, the least recently used left out above `budget_bytes`."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, MadeAnswer] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[MadeAnswer]] = {}

    def kept(self, key: Hashable) -> MadeAnswer | None:
        answer = self._kept.get(key)
        if answer is not None:
            self._kept.move_to_end(key)
        return answer

    def keep(self, key: Hashable, answer: MadeAnswer) -> None:
        replaced = self._kept.pop(key, None)
        if replaced is not None:
            self._bytes -= _size(replaced)
        self._kept[key] = answer
        self._bytes += _size(answer)
        while self._bytes > self._budget_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    async def get(self, key: Hashable, make: Callable[[], Awaitable[MadeAnswer]]) -> MadeAnswer:
        """The answer at `key`; all who ask while it is made wait for the same one."""
        answer = self.kept(key)
        if answer is not None:
            return answer
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._make(key, make))
            making.add_done_callback(_retrieve_exception)
        return await asyncio.shield(making)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[MadeAnswer]]) -> MadeAnswer:
        try:
            answer = await make()
            if answer.is_kept:
                self.keep(key, answer)
            return answer
        finally:
            del self._making[key]

    async def aclose(self) -> None:
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)


def _size(answer: MadeAnswer) -> int:
    return _ENTRY_BYTES + len(answer.body or b"")


def _retrieve_exception(making: asyncio.Task[MadeAnswer]) -> None:
    """Those who asked may all have gone."""
    if not making.cancelled():
        making.exception()
