"""One call of JSON-RPC at one node, as a question to its row."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from providers.errors import ErrorClass, ProviderError
from providers.members import Member
from providers.questions import Question
from providers.records import Record, RpcAnswer
from providers.resources import Resource
from providers.rpc.balancer import Node
from timing.clock import Clock


class Caller(Protocol):
    """What is needed of providers.client. `call` raises ProviderError and Skipped; with `node` a
    row without a URL is asked through that one. `look` raises StoreUnavailable."""

    @property
    def clock(self) -> Clock: ...
    async def call(
        self,
        resource: Resource,
        question: Question,
        *,
        within_s: float,
        node: Resource | None = None,
    ) -> Sequence[Record]: ...
    async def look(self, resources: Sequence[Resource]) -> Sequence[Member]: ...
    def lacks_key(self, resource: Resource) -> bool: ...


def call_of(chain: str, method: str, params: Sequence[Any]) -> Question:
    """The question that one call is."""
    options = (("method", method), ("params", json.dumps(list(params), separators=(",", ":"))))
    return Question(f"rpc.{chain}", (chain,), options)


async def asked(
    caller: Caller, node: Node, method: str, params: Sequence[Any], within_s: float
) -> RpcAnswer:
    """Raises ProviderError, Skipped."""
    question = call_of(node.resource.chain.partition(".")[2], method, params)
    (answer,) = await caller.call(node.resource, question, within_s=within_s)
    if not isinstance(answer, RpcAnswer):
        raise ProviderError(ErrorClass.BAD_PAYLOAD, f"{node.resource.id}: it is no node")
    return answer


async def asked_by_us(
    caller: Caller, node: Node, method: str, params: Sequence[Any], within_s: float
) -> RpcAnswer:
    """A call that nobody has asked for in these words: a node that refuses it blames no caller.
    Raises ProviderError, Skipped."""
    try:
        return await asked(caller, node, method, params, within_s)
    except ProviderError as error:
        if error.error_class is not ErrorClass.CALLER_FAULT:
            raise
        raise ProviderError(ErrorClass.BAD_PAYLOAD, str(error)) from None


def head_of(answer: RpcAnswer, node: Node) -> tuple[int, int | None]:
    """How far the node is, and when its newest block was made (UTC ms), if it says so. Raises
    ProviderError if it does not tell."""
    block = answer.result
    if not isinstance(block, dict):
        return number_of(answer, node), None
    try:
        return int(block["number"], 16), int(block["timestamp"], 16) * 1000
    except (KeyError, TypeError, ValueError):
        raise ProviderError(
            ErrorClass.BAD_PAYLOAD, f"{node.resource.id}: its newest block has no number or time"
        ) from None


def number_of(answer: RpcAnswer, node: Node) -> int:
    """The result as a whole number. Raises ProviderError if it is none."""
    if type(answer.result) is int:
        return answer.result
    try:
        return int(answer.result, 16)
    except (TypeError, ValueError):
        raise ProviderError(
            ErrorClass.BAD_PAYLOAD, f"{node.resource.id}: {answer.method} gave no number"
        ) from None
