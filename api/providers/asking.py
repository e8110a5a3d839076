"""Asks the chains for clients: within their limits, within 3 s, and what came is kept beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi import HTTPException

from api.answers import Scope
from api.parts import ProviderParts
from api.providers.client_calls import ClientCalls
from api.providers.kept_whales import WhaleTable
from config import Settings
from providers.answers import Answer
from providers.errors import NoAnswer
from providers.networks import Family, Network, UnknownNetwork, network_of
from providers.questions import INTERACTIVE_S, Kind, Question
from providers.records import Record


@dataclass(frozen=True, slots=True)
class Asking:
    """What the routes ask with; one per process."""

    parts: ProviderParts
    settings: Settings
    calls: ClientCalls
    whale_table: WhaleTable

    async def ask(self, scope: Scope, question: Question) -> Answer:
        """Raises NoAnswer, InvalidQuestion and TooManyCalls."""
        chains = self.parts.chains
        if question.kind is Kind.NEWS:  # feeds are asked at their own pace, whoever asks
            answer = await chains.ask(question, INTERACTIVE_S)
        elif self.calls.take(scope):
            try:
                answer = await chains.ask(question, INTERACTIVE_S)
            except NoAnswer as error:
                if not error.tried:
                    self.calls.give_back(scope)
                raise
            if answer.cached:
                self.calls.give_back(scope)
        else:
            known = await chains.known(question)
            if known is None:
                raise self.calls.refusal(scope)
            answer = known
        if not answer.cached:
            self.keep(answer.records)
        return answer

    def keep(self, records: Sequence[Record]) -> None:
        """They are stored a moment later."""
        self.parts.kept.note(records)

    def chain_for(self, kind: str, network: Network) -> str:
        """The chain of the registry that answers of this network: one of its own, or that of all
        EVM chains. Raises HTTPException, 404."""
        known = self.parts.registry.chains()
        if f"{kind}.{network.id}" in known:
            return f"{kind}.{network.id}"
        if network.family is Family.EVM and f"{kind}.evm" in known:
            return f"{kind}.evm"
        raise HTTPException(404, f"nobody tells of {network.id}: there are {self._named(kind)}")

    def networks(self, kind: str) -> Iterable[str]:
        """The networks that have a chain of their own."""
        return (
            each.partition(".")[2]
            for each in self.parts.registry.chains()
            if each.startswith(f"{kind}.")
        )

    def _named(self, kind: str) -> str:
        names = ["all EVM chains" if each == "evm" else each for each in self.networks(kind)]
        return ", ".join(names)


def network_or_404(name: str) -> Network:
    try:
        return network_of(name)
    except UnknownNetwork as error:
        raise HTTPException(404, str(error)) from None
