"""Rows that no single request answers: what is asked through nodes, and our own detection.

A row with `via` is asked through a chain of nodes, and read by its own reader.
"""

from dataclasses import replace
from typing import Final

from providers.errors import ErrorClass, NoAnswer, ProviderError
from providers.paths import filled
from providers.questions import Kind, Question
from providers.records import Balance, Record
from providers.resources import Resource
from providers.rpc.balancer import Node
from providers.rpc.calling import Caller
from providers.rpc.facts import facts_of
from providers.rpc.nodes import Nodes
from providers.scattering import each
from providers.whales.detector import Whales

_AT_ONCE: Final = 8


class OwnRows:
    """`ask` is what the client calls for such a row."""

    def __init__(self, caller: Caller, nodes: Nodes, whales: Whales) -> None:
        self._caller = caller
        self._nodes = nodes
        self._whales = whales

    async def ask(self, resource: Resource, question: Question, within_s: float) -> list[Record]:
        """What is known of the question's subjects, of some of them at least. Raises
        ProviderError, NoAnswer."""
        if question.kind is Kind.WHALES:
            return [*await self._whales.ask(question, within_s)]
        failed: list[ProviderError] = []

        async def one(subject: str) -> list[Record]:
            try:
                return await self._through(resource, question.of((subject,)), within_s)
            except NoAnswer as error:
                failed.append(ProviderError(ErrorClass.TRANSIENT, str(error)))
            except ProviderError as error:
                failed.append(error)
            return []

        found = await each(question.subjects, one, _AT_ONCE)
        records = [record for records in found for record in records]
        if failed and not records:
            raise failed[0]
        return records

    async def _through(
        self, resource: Resource, question: Question, within_s: float
    ) -> list[Record]:
        """Asks a row of one subject through nodes. Raises NoAnswer, ProviderError."""
        chain = _chain_of(resource, question)

        async def ask(node: Node, left_s: float) -> tuple[Record, ...]:
            records = await self._caller.call(
                resource, question, within_s=left_s, node=node.resource
            )
            provider = node.resource.provider.id
            return tuple(replace(record, provider=provider) for record in records)

        if question.kind is not Kind.BALANCE:
            records, node = await self._nodes.first(chain, ask, str(question), within_s=within_s)
            late_s = self._late_s(chain, node)
            return [_stale(record, late_s) if late_s else record for record in records]
        block = await self._nodes.settled_block(chain, within_s=within_s / 2)
        question = replace(question, options=(*question.options, ("block", hex(block))))
        agreed = await self._nodes.agreed(chain, ask, _amounts, str(question), within_s=within_s)
        return [*agreed]

    def _late_s(self, chain: str, node: Node) -> float:
        """How old what a node tells is, which is asked although it lags."""
        behind = self._nodes.balancer(chain).is_behind(node.resource.id)
        return node.behind * facts_of(chain).block_s if behind else 0.0


def _chain_of(resource: Resource, question: Question) -> str:
    """The chain of nodes that a row is asked through: `rpc.{chain}` is of the subject."""
    (subject,) = question.subjects
    via = filled(resource.via or "", {"chain": subject})
    return via.partition(".")[2]


def _amounts(records: tuple[Record, ...]) -> tuple[int, ...]:
    return tuple(record.raw for record in records if isinstance(record, Balance))


def _stale(record: Record, late_s: float) -> Record:
    return replace(record, stale_since_ms=record.fetched_at_ms - round(late_s * 1000))
