"""The walk of one question along its chain: who is asked when, until all of it is answered.

Members are asked one after another, and the next one early where the last takes long: most of the
time belongs to the first ones, and the end of it is for all that are left, so that one living
member answers within the deadline whoever is slow. A call that is overtaken goes on: its outcome
teaches the breaker.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from providers.admission import Successes
from providers.bounds import MANY
from providers.client import Client
from providers.errors import ErrorClass, InvalidQuestion, ProviderError, Tried
from providers.gate import Skipped
from providers.lineup import Place
from providers.plausible import are_two
from providers.questions import INTERACTIVE_S, Question
from providers.records import Record
from providers.resources import Resource
from providers.retrying import RetryBudget, retried
from providers.witnesses import Witnesses

CALM_SHARE: Final = 0.6  # of the time, in which members are asked one after another
LEAST_CALM_SHARE: Final = 0.02
PATIENCE: Final = 0.3  # of the calm time that is left: for one member, before the next is asked
LAST_SHARE: Final = 0.2  # of the time, in which nobody new is asked: the last need time to answer
FASTEST_HEDGE_S: Final = 0.05
WITNESS_SHARE: Final = 0.15  # of the time, for which a second source of a first value is waited
STORE_S: Final = 0.05  # of the time, for what the hot store is told afterwards
MOST_WITNESS_CALLS: Final = 3  # requests that a second source may cost


@dataclass(slots=True)
class Walk:
    """`line`: who may be asked, in order; `last_resort`: who is asked when they are through.
    `spawned`: calls under way, also after the answer; who asks ends them in the end. `successes`:
    what tells of the last ones; who asks closes it."""

    client: Client
    question: Question
    witnesses: Witnesses
    line: deque[Place]
    last_resort: Sequence[Place]
    within_s: float
    retries: RetryBudget
    spawned: set["asyncio.Task[list[Record]]"]
    successes: Successes
    tried: list[Tried] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)  # how often, by resource
    _pending: dict["asyncio.Task[list[Record]]", Resource] = field(default_factory=dict)
    _passing: list[tuple[Resource, ProviderError]] = field(default_factory=list)
    _gaps: deque[Place] = field(default_factory=deque)
    _short: dict[str, int] = field(default_factory=dict)  # of budget, and until when (UTC ms)
    _waited: set[str] = field(default_factory=set)
    _places: dict[str, Place] = field(default_factory=dict)
    _deadline_s: float = 0.0
    _hurries: bool = False

    async def run(self) -> None:
        """Asks until all is answered, nobody is left, or the time is over. Raises InvalidQuestion
        where a provider says that the question is wrong."""
        self._deadline_s = self.client.clock.monotonic_s() + self.within_s - STORE_S
        alone = len(self.line) + len(self.last_resort) == 1
        last = deque(self.last_resort)
        while self.witnesses.missing and self._left_s() > 0:
            started = self._start_next()
            if not started and not self._pending:
                reserve = self._gaps or last
                if self._only_doubts() or not (reserve or await self._has_room_again()):
                    break
                if reserve:
                    self.line.append(reserve.popleft())
            elif self._pending:
                await self._wait(self._patience_s(started))
                self._hurry()
        await self._again(alone)
        self.witnesses.settle_for_one_word()
        for resource in self._pending.values():
            self._note(resource, ErrorClass.TRANSIENT, None, "it has not answered yet")

    def _hurry(self) -> None:
        """First values have come, and only a second source is missing: the rest of the time is not
        waited for it."""
        if not self._hurries and self.witnesses.missing and self._only_doubts():
            self._hurries = not self.witnesses.any_held
            soon_s = self.client.clock.monotonic_s() + WITNESS_SHARE * self.within_s
            if self._hurries:
                self._deadline_s = min(self._deadline_s, soon_s)

    async def _has_room_again(self) -> bool:
        """Waits, once for each, for the budget of a member that would have been asked: nobody else
        is left. Whether one may be asked now."""
        if not self._short:
            return False
        soonest = min(self._short, key=self._short.__getitem__)
        wait_s = (self._short.pop(soonest) - self.client.clock.wall_ms()) / 1000
        if wait_s >= self._left_s():
            return False
        await self.client.clock.sleep(max(0.0, wait_s))
        self.tried = [each for each in self.tried if each.resource != soonest]
        self.line.append(self._places[soonest])
        return True

    def _left_s(self) -> float:
        return self._deadline_s - self.client.clock.monotonic_s()

    def _only_doubts(self) -> bool:
        """Whether all that is missing has come, and waits for a second source."""
        return all(name in self.witnesses.doubted for name in self.witnesses.missing)

    def _start_next(self) -> Place | None:
        """Asks the next one in line that can add something; None if there is none."""
        while self.line:
            place = self.line.popleft()
            question = self._question_for(place)
            if question is None:
                continue
            call = self.client.call(
                *(place.resource, question),
                within_s=self._left_s(),
                how=place.how,
                successes=self.successes,
            )
            task = asyncio.create_task(call)
            self.spawned.add(task)
            task.add_done_callback(self._forget)
            self._pending[task] = place.resource
            self._places[place.resource.id] = place
            self.asked[place.resource.id] += 1
            self.retries.called()
            return place
        return None

    def _question_for(self, place: Place) -> Question | None:
        """What the member is asked: what is missing, but for what it does not know. A value that
        waits for a second source costs few requests, and no second word of the same source."""
        if self.question.kind in MANY:
            return self.question
        missing = self.witnesses.missing
        lacks = place.member.unknown if place.trusts_memory else frozenset()
        subjects = tuple(name for name in missing if self.question.name_of(name) not in lacks)
        if any(self._may_be_a_gap(name, place) for name in set(missing).difference(subjects)):
            self._gaps.append(replace(place, trusts_memory=False))
        if not subjects:
            self._note(place.resource, ErrorClass.UNKNOWN, None, "it does not know them")
        elif all(name in self.witnesses.doubted for name in subjects):
            subjects = self._to_confirm(place.resource, subjects)
        return self.question.of(subjects) if subjects else None

    def _may_be_a_gap(self, name: str, place: Place) -> bool:
        """Whether a member is asked again, in the end, for what it lacked: somebody had a value of
        it lately, or this one was not asked for a while."""
        return name in self.witnesses.last or self.question.name_of(name) in place.member.gaps

    def _to_confirm(self, resource: Resource, subjects: tuple[str, ...]) -> tuple[str, ...]:
        """What a member is asked that would be a second source of it; none where that costs many
        requests."""
        if len(subjects) > MOST_WITNESS_CALLS * max(1, resource.batch):
            return ()
        told = self.witnesses.doubted
        return tuple(
            name
            for name in subjects
            if any(are_two(each.resource, resource) for each in told[name])
        )

    def _patience_s(self, started: Place | None) -> float:
        """How long the calls under way are waited for before the next member is asked."""
        left_s = self._left_s()
        if not self.line:
            return left_s
        calm_s = left_s - (1 - CALM_SHARE) * self.within_s
        if calm_s <= LEAST_CALM_SHARE * self.within_s:
            return max(0.0, left_s - LAST_SHARE * self.within_s) / (len(self.line) + 1)
        patience_s = PATIENCE * calm_s
        p95_ms = None if started is None else started.member.p95_ms
        if p95_ms and self.within_s <= INTERACTIVE_S and self.line[0].resource.hedge:
            return min(patience_s, max(FASTEST_HEDGE_S, p95_ms / 1000))
        return patience_s

    async def _wait(self, seconds: float) -> None:
        done, _ = await asyncio.wait(
            self._pending, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            resource = self._pending.pop(task)
            self._hear(resource, task)
        if self.witnesses.missing:  # the end of the walk may be far
            await self.successes.tell()

    def _hear(self, resource: Resource, ended: "asyncio.Future[list[Record]]") -> None:
        try:
            records = ended.result()
        except (ProviderError, Skipped) as error:
            self._failed(resource, error)
        else:
            self.witnesses.hear(resource, records, self.client.clock.wall_ms())

    def _failed(self, resource: Resource, error: ProviderError | Skipped) -> None:
        if isinstance(error, Skipped):
            self.asked[resource.id] -= 1
            self._note(resource, None, error.reason, str(error))
            if error.reason == "no_budget" and error.until_ms and resource.id not in self._waited:
                self._waited.add(resource.id)
                self._short[resource.id] = error.until_ms
            return
        if error.error_class is ErrorClass.CALLER_FAULT:
            raise InvalidQuestion(str(error))
        if error.error_class is ErrorClass.TRANSIENT:
            self._passing.append((resource, error))
        self._note(resource, error.error_class, None, str(error))

    async def _again(self, alone: bool) -> None:
        """Asks those again that failed in passing: once, or as often as its level says where the
        chain has one member."""
        while self._passing and self.witnesses.missing and not self._only_doubts():
            if self._pending or self._left_s() <= 0:
                return
            resource, failed = self._passing.pop(0)
            question = self.question
            if question.kind not in MANY:
                question = question.of(self.witnesses.missing)

            async def call(
                resource: Resource = resource, question: Question = question
            ) -> list[Record]:
                self.asked[resource.id] += 1
                return await self.client.call(
                    resource, question, within_s=self._left_s(), purpose="retry"
                )

            times = self.client.attempts_of(resource) - 1 if alone else 1
            ended = asyncio.ensure_future(
                retried(
                    *(failed, call),
                    times=max(1, times),
                    deadline_s=self._deadline_s,
                    budget=self.retries,
                    clock=self.client.clock,
                )
            )
            await asyncio.wait((ended,))
            self._passing_over(resource, ended)

    def _passing_over(self, resource: Resource, ended: "asyncio.Future[list[Record]]") -> None:
        before = len(self._passing)
        self._hear(resource, ended)
        del self._passing[before:]  # it was asked again, and is not once more

    def _note(
        self, resource: Resource, error_class: ErrorClass | None, skipped: str | None, message: str
    ) -> None:
        self.tried.append(Tried(resource.id, resource.level.name, error_class, skipped, message))

    def _forget(self, task: "asyncio.Task[list[Record]]") -> None:
        self.spawned.discard(task)
        if not task.cancelled():
            task.exception()  # its outcome was told to the gate; nobody waits for it
