"""Shares: who may be asked for next, of many clients' waiting questions; the one who had least.

Each client's questions are numbered in the weight that it was given (start-time fair queueing): a
client with a hundred of them waits for its own, not others for it. Who had its part of the limit
lately (takings.py) leaves the rest to those who had less.
"""

import asyncio
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from budgets.left_over import Room
from facade.takings import OF_WHO_HAD_ITS_PART, Takings

MOST_WAITING: Final = 1_000
MOST_OF_CLIENT: Final = 100
_RECHECK_S: Final = 0.5  # how soon a question that waits notices room
_LEAST_S: Final = 0.02

# From a weight, and the part of what may be taken that this request may use, with what is taken.
Take = Callable[[int, float], Awaitable[Room]]


class NoRoom(Exception):
    """No room in time; `retry_s`: after which it is worth asking again."""

    def __init__(self, cause: str, retry_s: float) -> None:
        super().__init__(cause)
        self.retry_s = retry_s


class Paused(NoRoom):
    """Nothing is asked of the exchange for now; `cause`: what it said."""


class Turn:
    """A question that waits for room; `join` lets another client's turn serve it, too."""

    def __init__(self, shares: "Shares", weight: int) -> None:
        self._shares = shares
        self.weight = weight
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.clients: set[str] = set()
        self.ends = math.inf  # by the event loop's clock

    def join(self, client: str) -> None:
        """Raises NoRoom where the client has too many questions waiting."""
        if client not in self.clients and not self.done.done():
            self._shares._put(self, client)


class Shares:
    """The waiting questions of one limit of one exchange. `take` asks for room, `takings` are those
    of this limit."""

    def __init__(self, take: Take, takings: Takings) -> None:
        self._take = take
        self._takings = takings
        self._allowance: int | None = None  # what all may take, as it was told last
        self._waiting: list[tuple[float, int, Turn]] = []
        self._had: dict[str, float] = {}  # where each client's next question stands
        self._reached = 0.0
        self._count = itertools.count()
        self._of_client: Counter[str] = Counter()
        self._serving: asyncio.Task[None] | None = None
        self._retry_s = _LEAST_S

    @property
    def waiting(self) -> int:
        return len({id(turn) for _, _, turn in self._waiting if not turn.done.done()})

    @property
    def is_busy(self) -> bool:
        """Whether questions wait, or were let through so lately that it counts who asked them."""
        return self._serving is not None or bool(self._waiting) or self._takings.are_some

    def turn(self, clients: Iterable[str], weight: int) -> Turn:
        """The turn of a question of these clients. Raises NoRoom where each has too many."""
        turn = Turn(self, weight)
        full: NoRoom | None = None
        for client in clients:
            try:
                turn.join(client)
            except NoRoom as error:
                full = error
        if full is not None and not turn.clients:
            raise full
        return turn

    async def room(self, turn: Turn, deadline_s: float) -> None:
        """Returns when there is room for it. Raises NoRoom, at once where that is sure."""
        turn.ends = asyncio.get_running_loop().time() + deadline_s
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        try:
            async with asyncio.timeout_at(turn.ends):
                await asyncio.shield(turn.done)
        except TimeoutError:
            raise NoRoom(f"no room within {deadline_s:g} s", self._retry_s) from None
        finally:
            self._leave(turn)

    async def aclose(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    def _put(self, turn: Turn, client: str) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = [entry for entry in self._waiting if not entry[2].done.done()]
            heapq.heapify(self._waiting)
        if len(self._waiting) >= MOST_WAITING or self._of_client[client] >= MOST_OF_CLIENT:
            raise NoRoom("too many requests wait already", self._retry_s)
        begins = max(self._reached, self._had.get(client, 0.0))
        self._had[client] = begins + turn.weight
        self._of_client[client] += 1
        turn.clients.add(client)
        heapq.heappush(self._waiting, (begins, next(self._count), turn))

    def _leave(self, turn: Turn) -> None:
        turn.done.cancel()
        for client in turn.clients:
            self._of_client[client] -= 1
            if self._of_client[client] <= 0:
                del self._of_client[client]
        turn.clients = set()

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._look()
                self._drop_done()
        finally:
            self._serving = None

    async def _look(self) -> None:
        """Gives the first question room; where its clients had their part and there is none, the
        first of those who had less."""
        begins, _, first = self._waiting[0]
        if first.done.done():
            return
        tries = [(first, 1.0)]
        if self._had_theirs(first):
            others = (
                entry
                for entry in self._waiting
                if not entry[2].done.done() and not self._had_theirs(entry[2])
            )
            next_of_others = min(others, default=None)
            tries = [(first, OF_WHO_HAD_ITS_PART)]
            tries += [(next_of_others[2], 1.0)] if next_of_others is not None else []
        for turn, part in tries:
            if await self._try(turn, part):
                self._reached = max(self._reached, begins)
                return
        if not any(turn.done.done() for turn, _ in tries):
            await asyncio.sleep(min(self._retry_s, _RECHECK_S))

    def _had_theirs(self, turn: Turn) -> bool:
        if self._allowance is None:
            return False
        return self._takings.have_had_theirs(turn.clients, self._of_client, self._allowance)

    async def _try(self, turn: Turn, part: float) -> bool:
        """Whether there was room for it."""
        clients = tuple(turn.clients)
        room = await self._take(turn.weight, part)
        if room.paused_s > 0:
            for _, _, each in self._waiting:
                _fail(each, Paused(room.cause, room.paused_s))
            return False
        self._allowance = room.allowance
        if room.is_free:
            self._takings.took(clients, turn.weight)
            if not turn.done.done():
                turn.done.set_result(None)
            return True
        self._retry_s = max(_LEAST_S, room.wait_s)
        if asyncio.get_running_loop().time() + self._retry_s > turn.ends:
            _fail(turn, NoRoom("no room in time", self._retry_s))
        return False

    def _drop_done(self) -> None:
        while self._waiting and self._waiting[0][2].done.done():
            heapq.heappop(self._waiting)
        if not self._waiting:
            self._had.clear()
            self._reached = 0.0


def _fail(turn: Turn, error: NoRoom) -> None:
    if not turn.done.done():
        turn.done.set_exception(error)
