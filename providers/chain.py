"""Chains: one question, answered by the first member that can, or by what was last known.

It puts together what others decide: the order (choice), the walk, what is believed (witnesses),
what is kept (answers) and what is counted (usage).
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import structlog

from logging_setup import OutageLog
from providers.alerts import Alerts
from providers.answers import (
    Answer,
    Answers,
    Known,
    fresh_and_rest,
    kept_of,
    keys_of,
    known_of,
    names_of,
)
from providers.assets import Assets
from providers.attempts import Alert
from providers.bounds import MANY
from providers.client import Client
from providers.errors import NEVER_ASKED, ErrorClass, InvalidQuestion, NoAnswer, Tried
from providers.falling_back import fell_back, once_each
from providers.gate import Kept
from providers.lineup import Lineup, Lineups
from providers.naming import named
from providers.news.gathering import Gathering
from providers.news.mentions import Mentions
from providers.news.told import ToldStories
from providers.plausible import Plausible
from providers.probes import Probes
from providers.questions import Kind, Question
from providers.records import Record
from providers.resources import Rows
from providers.retrying import RetryBudget
from providers.rpc.nodes import Nodes
from providers.usage import Usage
from providers.walk import Walk
from providers.whales.detector import Whales
from providers.witnesses import Told, Witnesses
from stores.hot.store import StoreUnavailable

log = structlog.get_logger(__name__)


class Chains:
    """One per process."""

    def __init__(
        self,
        registry: Rows,
        client: Client,
        answers: Answers,
        usage: Usage,
        told: ToldStories,
        plausible: Plausible,
        probes: Probes,
        alerts: Alerts,
        *,
        assets: Assets,
        nodes: Nodes,
        whales: Whales,
    ) -> None:
        self.registry = registry
        self.client = client
        self.usage = usage
        self.nodes = nodes
        self.whales = whales
        self._answers = answers
        self._plausible = plausible
        self.probes = probes
        self._alerts = alerts
        self._assets = assets
        self.lineups = Lineups(registry, client)
        self._news = Gathering(client, self.lineups, answers, told, Mentions(assets))
        self._retries = RetryBudget(client.clock)
        self._silent: set[str] = set()  # chains of which nobody answers, as was told
        # Questions under way, each with when it is answered at the latest.
        self._flights: dict[Question, tuple[asyncio.Task[Answer], float]] = {}
        self._asking: set[asyncio.Task[Answer]] = set()
        self._spawned: set[asyncio.Task[list[Record]]] = set()
        self._outage = OutageLog(log, "provider_answers_not_shared", "provider_answers_shared")

    async def ask(self, question: Question, within_s: float) -> Answer:
        """The answer, from what is known if that is fresh, else from the chain's members.

        Equal questions at one time are asked once. Raises NoAnswer, with everyone who was tried, if
        nobody answers and the last value is too old; InvalidQuestion for one that cannot be
        answered; KeyError for an unknown chain.
        """
        self.registry.chain(question.chain)
        until_s = self.client.clock.monotonic_s() + within_s
        flight, lands_s = self._flights.get(question, (None, 0.0))
        if flight is None or lands_s > until_s:  # who has less time does not wait for who has more
            flight = asyncio.create_task(self._answer(question, within_s))
            self._flights[question] = flight, until_s
            flight.add_done_callback(lambda done: self._landed(question, done))
            self._asking.add(flight)
        try:
            # The walk keeps the deadline; what surrounds it is the hot store's.
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():
                raise NoAnswer(str(question), ()) from None
            raise

    async def known(self, question: Question) -> Answer | None:
        """What is known of all that is asked about, if it is fresh: nobody is asked."""
        names = names_of(question)
        known = await self._read(question, names)
        fresh, rest = fresh_and_rest(known, names, self.client.clock.wall_ms())
        return None if rest else _answer_of(question, fresh, (), cached=True)

    async def aclose(self) -> None:
        """Ends the calls that still go on."""
        tasks = [*self._asking, *self._spawned]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.usage.aclose()
        await self._news.aclose()

    def _landed(self, question: Question, flight: "asyncio.Task[Answer]") -> None:
        self._asking.discard(flight)
        if self._flights.get(question, (None, 0.0))[0] is flight:
            del self._flights[question]
        if not flight.cancelled():
            flight.exception()  # those who asked have it; nobody may be left

    async def _merged(self, question: Question, within_s: float) -> Answer:
        """News: what all feeds tell."""
        try:
            answer = await self._news.ask(question, within_s)
        except NoAnswer as error:
            self.usage.count(question.chain, {"asked": 1, "unanswered": 1})
            self._alert(question.chain, error.tried, False)
            raise
        skipped = [(each.resource, each.skipped) for each in answer.tried if each.skipped]
        counts = {"asked": 1, "answered": 1, "cached": int(answer.cached)}
        self.usage.count(question.chain, counts, [] if answer.cached else skipped)
        self._alert(question.chain, answer.tried, True)
        return answer

    async def _answer(self, question: Question, within_s: float) -> Answer:
        if question.kind is Kind.NEWS:
            return await self._merged(question, within_s)
        clock = self.client.clock
        until_s = clock.monotonic_s() + within_s
        names = names_of(question)
        is_kept = question.kind is not Kind.RPC
        members, texts = await self.lineups.look_and_read(
            question.chain,
            [question.name_of(each) for each in question.subjects],
            keys_of(question, names) if is_kept else (),
            metric=question.option("metric"),
        )
        known = known_of(names, texts) if is_kept else {}
        fresh, rest = fresh_and_rest(known, names, clock.wall_ms())
        if not rest:
            self.usage.count(question.chain, {"asked": 1, "answered": 1, "cached": 1})
            return _answer_of(question, fresh, (), cached=True)
        asked = question if question.kind in MANY else question.of(rest)
        lineup = self.lineups.lined_up(members)
        others = await self._references(question, [each for each in rest if each not in known])
        witnesses = Witnesses(asked, rest, self._plausible, known, others)
        successes = self.client.successes()
        walk = Walk(
            *(self.client, asked, witnesses, deque(lineup.line), lineup.last_resort),
            *(until_s - clock.monotonic_s(), self._retries, self._spawned, successes),
        )
        kept: list[Kept] = []
        try:
            await walk.run()
            now_ms = clock.wall_ms()
            found = {name: _known(told) for name, told in witnesses.believed.items()}
            kept = kept_of(question, found, now_ms) if is_kept else []
        finally:
            await successes.close(kept)
        await self._accuse(question.chain, witnesses)
        self.probes.nudge(lineup.members)
        told = (*walk.tried, *witnesses.not_believed())
        tried = once_each(told, lineup.skipped, walk.asked)
        usable = {
            name: replace(known[name], records=known[name].stale())
            for name in witnesses.missing
            if name in known and known[name].is_usable(question.kind, now_ms)
        }
        served = {each.resource for each in found.values()}
        counts = {
            "asked": 1,
            "answered": int(bool(found)),
            "fallbacks": int(
                bool(served) and fell_back(served, lineup, told, self._able(lineup, asked))
            ),
            "stale": int(bool(usable)),
            "unanswered": int(not (found or usable or fresh)),
        }
        skips = [(each.resource, each.skipped or "out") for each in lineup.skipped]
        self.usage.count(question.chain, counts, skips)
        # Where one index was asked for, whoever tells another may live.
        answered = bool(found or witnesses.doubted or question.option("metric"))
        self._alert(question.chain, tried, answered)
        answer = _answer_of(question, fresh | found | usable, tried)
        if not answer.served_by:
            raise NoAnswer(str(question), tried)
        return answer

    def _able(self, lineup: Lineup, question: Question) -> set[str]:
        """Who serves what is asked for: the currency, the chain, one of the assets."""
        return {
            row.id
            for row, _ in lineup.members
            if any(named(row, question, each, self._assets) for each in question.subjects)
        }

    async def _read(self, question: Question, names: tuple[str, ...]) -> dict[str, Known]:
        if question.kind is Kind.RPC:
            return {}
        try:
            known = await self._answers.read(question, names)
        except StoreUnavailable as error:
            self._outage.failed(error)
            return {}
        self._outage.recovered()
        return known

    async def _references(self, question: Question, names: list[str]) -> dict[str, Known]:
        try:
            return await self._answers.references(question, names)
        except StoreUnavailable as error:
            self._outage.failed(error)
            return {}

    async def _accuse(self, chain: str, witnesses: Witnesses) -> None:
        """Tells of values that were held back, and counts those that were not true."""
        for name, told in witnesses.doubted.items():
            for each in told:
                why = "" if each.doubt is None else each.doubt.reason
                self._alerts.tell(Alert("quarantined", chain, each.resource.id, f"{name}: {why}"))
        for liar, why in witnesses.liars:
            self._alerts.tell(Alert("quarantined", chain, liar.resource.id, why))
            try:
                await self.client.gate.accuse(self.client.account(liar.resource), why)
            except StoreUnavailable as error:
                self._outage.failed(error)

    def _alert(self, chain: str, tried: tuple[Tried, ...], answered: bool) -> None:
        if answered:
            self._silent.discard(chain)
            self.usage.living(chain, True)
        elif not any(
            each.error_class is ErrorClass.UNKNOWN or each.skipped == "no_time" for each in tried
        ):
            self.usage.living(chain, False)
            if chain in self._silent:
                return
            self._silent.add(chain)
            asked = {each.resource for each in tried if each.skipped not in NEVER_ASKED}
            self._alerts.tell(
                Alert("no_living_member", chain, None, f"nobody of {len(asked)} answers")
            )


def _known(told: Told) -> Known:
    fetched_at_ms = min((each.fetched_at_ms for each in told.records), default=0)
    return Known(
        told.records,
        told.resource.id,
        told.resource.level,
        fetched_at_ms,
        fetched_at_ms + round(told.resource.ttl_s * 1000),
        {},
    )


def _answer_of(
    question: Question,
    found: Mapping[str, Known],
    tried: tuple[Tried, ...],
    *,
    cached: bool = False,
) -> Answer:
    names = [name for name in names_of(question) if name in found]
    return Answer(
        question,
        tuple(record for name in names for record in found[name].records),
        tried,
        {name: found[name].resource for name in names},
        {name: found[name].level for name in names},
        tuple(name for name in names_of(question) if name not in found),
        cached,
    )


__all__ = ["Chains", "InvalidQuestion", "NoAnswer"]
