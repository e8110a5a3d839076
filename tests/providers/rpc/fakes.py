"""Nodes for tests: each answers as its test says, and what was asked is kept."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from providers.breaker import BreakerState
from providers.errors import ErrorClass, ProviderError
from providers.members import Member
from providers.questions import Question
from providers.records import RpcAnswer
from providers.resources import Level, Provider, Resource, State
from tests.fixtures.clock import ManualClock

NOW_MS = ManualClock().wall_ms()
PROVIDER = Provider("rpc", "Nodes", (), None, None, None, ())
Answering = Callable[[str, list[Any]], Any]


def row(id_: str, level: Level = Level.CRITICAL, state: State = State.ALIVE) -> Resource:
    return Resource(
        id=id_,
        chain=id_.partition("/")[0],
        provider=PROVIDER,
        level=level,
        state=state,
        reason=None,
        since=None,
        method="POST",
        url=f"https://{id_}.example",
        reader="jsonrpc",
    )


class FakeNode:
    """Of Ethereum, at `head`, whose newest block is of `made_ms` (UTC). `results` by method: a
    value, an exception, or a function of the parameters; with `hangs` it never answers."""

    def __init__(self, head: int = 1_000, made_ms: int = NOW_MS, **results: Any) -> None:
        self.head = head
        self.made_ms = made_ms
        self.results = {"eth_chainId": "0x1", "eth_getBlockByNumber": _block, **results}
        self.hangs = False
        self.asked: list[str] = []

    async def answer(self, method: str, params: list[Any]) -> Any:
        self.asked.append(method)
        if self.hangs:
            await asyncio.Event().wait()
        if params == ["latest", False]:
            return {"number": hex(self.head), "timestamp": hex(self.made_ms // 1000)}
        result = self.results[method]
        if isinstance(result, Exception):
            raise result
        return result(*params) if callable(result) else result


def _block(number: str, full: bool) -> dict[str, Any]:
    return {"number": number, "hash": f"0x{int(number, 16):064x}", "transactions": []}


class FakeCaller:
    """In place of providers.client: one chain of nodes, in this order."""

    def __init__(self, nodes: dict[str, FakeNode], rows: Sequence[Resource] = ()) -> None:
        self.clock = ManualClock()
        self.nodes = nodes
        self.rows = list(rows) or [row(id_) for id_ in nodes]
        self.members: dict[str, Member] = {}

    def lacks_key(self, resource: Resource) -> bool:
        return False

    async def look(self, resources: Sequence[Resource]) -> list[Member]:
        return [self.members.get(each.id, member()) for each in resources]

    async def call(
        self,
        resource: Resource,
        question: Question,
        *,
        within_s: float,
        node: Resource | None = None,
    ) -> list[RpcAnswer]:
        method = question.option("method")
        asked = node or resource
        result = await self.nodes[asked.id].answer(method, json.loads(question.option("params")))
        return [
            RpcAnswer(
                provider="rpc",
                resource=asked.id,
                fetched_at_ms=self.clock.wall_ms(),
                as_of_ms=None,
                chain=question.chain.partition(".")[2],
                method=method,
                result=result,
            )
        ]


def member(
    *, switched: bool | None = None, out_until_ms: int = 0, open_until_ms: int = 0
) -> Member:
    return Member(
        state=BreakerState.CLOSED,
        open_until_ms=open_until_ms,
        opened_at_ms=0,
        out_until_ms=out_until_ms,
        out_class="",
        success_rate=1.0,
        p70_ms=None,
        p95_ms=None,
        last_error="",
        switched=switched,
        unknown=frozenset(),
    )


def failing(error_class: ErrorClass = ErrorClass.TRANSIENT) -> ProviderError:
    return ProviderError(error_class, f"it is {error_class}")
