"""One call of one resource: admitted by the gate, sent, judged, read, and its outcome told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from config import Settings
from providers.account import Account
from providers.admission import Admission, Successes
from providers.alerts import Alerts
from providers.assets import Assets, UnknownAsset
from providers.attempts import Alert, Attempt, OnAttempt, Purpose
from providers.bounds import MANY, checked, subject_of
from providers.classify import classify
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.gate import How, Outcome, Right, Skipped
from providers.http import LARGEST_BODY, LARGEST_FEED, Http, Response, Times
from providers.keys import Keys
from providers.members import Member
from providers.questions import Kind, Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.readers.values import joined
from providers.records import Record
from providers.requests import PreparedRequest, requests_of
from providers.resources import Resource, Rows
from stores.hot.store import HotStore
from timing.clock import Clock, SystemClock

OFF_LOOP_BYTES: Final = 2**16  # larger bodies are read beside the event loop
AT_ONCE: Final = 4  # requests of one call
_OWN: Final = "own"
_FEEDS: Final = ("rss", "google_news")
_NOT_MODIFIED: Final = 304
_AGAIN: Final = (Kind.PRICE, Kind.GAS, Kind.STATS, Kind.SENTIMENT)  # what is asked again and again
_PURPOSES: Final[Mapping[How, Purpose]] = {
    "": "question",
    "forced": "question",
    "probe": "probe",
    "demand": "probe",
}
# Questions with no words of a caller's but a chain's name.
_OURS: Final = (Kind.GAS, Kind.STATS, Kind.WHALES, Kind.NEWS)
# What an answer that nobody has thought of may raise.
_UNREADABLE: Final = (
    *(ProviderError, ArithmeticError, AttributeError, LookupError),
    *(TypeError, ValueError, RecursionError),
)

T = TypeVar("T")
# Asks a row that has no URL of its own: through nodes (`via`), or by code of ours (`own`).
OwnAsker = Callable[[Resource, Question, float], Awaitable[Sequence[Record]]]

log = structlog.get_logger(__name__)


class Client:
    """One per process. `environ` has the keys. `own`: what asks the rows that have no URL; it needs
    a client, and so is set after it was made."""

    def __init__(
        self,
        settings: Settings,
        registry: Rows,
        assets: Assets,
        store: HotStore,
        alerts: Alerts,
        *,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._admission = Admission(settings, store, clock)
        self.gate = self._admission.gate
        self.own: OwnAsker | None = None
        self._registry = registry
        self._assets = assets
        self._base_url = settings.providers_base_url
        self._keys = Keys(registry.resources, environ, settings)
        self._http = Http(settings, self.clock)
        self._alerts = alerts
        self._on_attempt = on_attempt
        self._made = lru_cache(maxsize=1024)(requests_of)
        # They come many at once, and each thread that reads one takes the event loop's turn.
        self._one_feed = asyncio.Semaphore(1)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    def account(self, resource: Resource) -> Account:
        return self._keys.account(resource)

    def lacks_key(self, resource: Resource) -> bool:
        return self._keys.lacks(resource)

    def successes(self) -> Successes:
        """For the calls of one walk; it must be closed."""
        return Successes(self._admission)

    def attempts_of(self, resource: Resource) -> int:
        """How often a chain of this one member asks it at most."""
        return self._registry.levels[resource.level].attempts

    async def call(
        self,
        resource: Resource,
        question: Question,
        *,
        within_s: float,
        how: How = "",
        purpose: Purpose | None = None,
        node: Resource | None = None,
        successes: Successes | None = None,
    ) -> list[Record]:
        """The records that the resource has of the question's subjects; of some of them, at least.

        `node`: the row of the node through which a row without a URL is asked; budget, key and
        times are the node's. `successes`: what may tell that it has succeeded, a moment later.
        Raises ProviderError, Skipped, InvalidQuestion."""
        if resource.reader == _OWN or (resource.via is not None and node is None):
            return await self._ask_own(resource, question, within_s, how)
        requests = self.prepared(resource, question, node)
        if not requests:
            raise ProviderError(ErrorClass.UNKNOWN, "it has none of what was asked for")
        errors: list[ProviderError | Skipped] = []
        failed: set[str] = set()
        # A half-open member is asked again when it is known how the first request went.
        if len(requests) > 1:
            successes = None

        async def one(request: PreparedRequest) -> list[Record]:
            try:
                return await self.send(
                    *(node or resource, request),
                    within_s=within_s,
                    read=lambda answer: self.read(resource, question, request, answer),
                    how=how,
                    purpose=purpose,
                    of_caller=question.kind not in _OURS,
                    successes=successes,
                )
            except (ProviderError, Skipped) as error:
                errors.append(error)
                if not _is_unknown(error):
                    failed.update(request.subjects)
                return []

        # There is one permit for a member that is out: a probe takes it for each request in turn.
        at_once = 1 if how in ("probe", "demand") else AT_ONCE
        batches = await _few_at_once(one, requests, at_once)
        # What has only a part of its requests answered is not answered.
        records = joined(
            [record for batch in batches for record in batch if subject_of(record) not in failed]
        )
        if question.kind not in MANY:
            has = failed.union(map(str, map(subject_of, records)))
            lacks = {name for request in requests for name in request.subjects} - has
            if lacks:
                names = [question.name_of(name) for name in sorted(lacks)]
                await self._admission.remember(self.account(resource), names)
        if errors and not records:
            raise errors[0]
        return records

    def prepared(
        self, resource: Resource, question: Question, node: Resource | None = None
    ) -> list[PreparedRequest]:
        """The requests that bring the answer, with the key in them. Raises Skipped,
        InvalidQuestion."""
        key = self._keys.usable(node or resource).key
        secret = None if key is None else key.get_secret_value()
        make = self._made if question.kind in _AGAIN else requests_of
        try:
            return list(make(resource, question, self._assets, secret, self._base_url, node))
        except UnknownAsset as error:
            raise InvalidQuestion(str(error)) from None

    async def look(self, resources: Sequence[Resource]) -> list[Member]:
        """What is known of each of them, in their order. Raises StoreUnavailable."""
        return await self.gate.look([self.account(each) for each in resources])

    async def send(
        self,
        resource: Resource,
        request: PreparedRequest,
        *,
        within_s: float,
        read: Callable[[Response], T | Awaitable[T]],
        how: How = "",
        purpose: Purpose | None = None,
        of_caller: bool = False,
        successes: Successes | None = None,
    ) -> T:
        """What `read` makes of the answer to one request, or of its 304. `of_caller`: whether the
        request has a caller's own words in it. Raises ProviderError, which `read` may raise, too,
        and Skipped."""
        account = self._keys.usable(resource)
        right = await self._admission.admit(account, how)
        call = _Call(self.clock.wall_ms(), self.clock.monotonic_s(), purpose or _PURPOSES[how])
        try:
            answer = await self._http.exchange(
                request,
                self._times(resource, within_s),
                private=resource.private,
                largest=LARGEST_FEED if resource.reader in _FEEDS else LARGEST_BODY,
            )
            call.status = answer.status
            if answer.status != _NOT_MODIFIED:
                refusal = classify(
                    resource, answer.status, answer.headers, answer.body, self.clock.wall_ms()
                )
                if refusal is not None:
                    raise refusal
            found = read(answer)
            value = await found if isinstance(found, Awaitable) else found
        except _UNREADABLE as raised:
            error = self._keys.cleaned(_refused(raised, resource, of_caller))
            if error.error_class is ErrorClass.KEY_REJECTED:
                self._alerts.tell(Alert("key_refused", resource.chain, resource.id, str(error)))
            await self._ended(account, right, call, request, error)
            raise error from None
        await self._ended(account, right, call, request, None, successes)
        return value

    async def _ask_own(
        self, resource: Resource, question: Question, within_s: float, how: How
    ) -> list[Record]:
        """Asks a row that has no URL. The calls that this takes draw from budgets of their own; of
        a row that sends them itself, they are all that is counted."""
        if self.own is None:
            raise Skipped("off", "there is nothing here to ask it by")
        times = self._times(resource, within_s)
        if resource.reader == _OWN:
            return await _in_time(self.own(resource, question, within_s), times.total_s)
        account = self._keys.account(resource)
        right = await self._admission.admit(account, how, budget=False)
        began = self.clock.monotonic_s()
        try:
            came = await _in_time(self.own(resource, question, within_s), times.total_s)
            records = checked(came, resource, question, self.clock.wall_ms())
        except ProviderError as error:
            ms = self._ms_since(began)
            await self._admission.settle(account, right, ms, error)
            raise
        await self._admission.settle(account, right, self._ms_since(began), None)
        return records

    async def read(
        self,
        resource: Resource,
        question: Question,
        request: PreparedRequest,
        answer: Response,
    ) -> list[Record]:
        asked = Asked(
            *(resource, question, request.subjects, answer.fetched_at_ms, self._assets),
            *(answer.headers, request.part),
        )
        reader = READERS[resource.reader]
        if resource.reader in _FEEDS:
            async with self._one_feed:
                records = await asyncio.to_thread(reader, answer.body, asked)
        elif len(answer.body) > OFF_LOOP_BYTES:
            records = await asyncio.to_thread(reader, answer.body, asked)
        else:
            records = reader(answer.body, asked)
        return checked(records, resource, question, self.clock.wall_ms())

    async def _ended(
        self,
        account: Account,
        right: Right,
        call: "_Call",
        request: PreparedRequest,
        error: ProviderError | None,
        successes: Successes | None = None,
    ) -> None:
        ms = self._ms_since(call.began_s)
        tripped = False
        if successes is None or not successes.take(Outcome(account, right, ms)):
            settled = await self._admission.settle(account, right, ms, error)
            tripped = settled.changed == "opened"
        if self._on_attempt is None:
            return
        self._on_attempt(
            Attempt(
                *(account.resource, call.purpose, call.started_at_ms, ms, call.status),
                *(None if error is None else error.error_class, str(error or "")),
                *(self._keys.clean(request.shown), tripped),
            )
        )

    def _times(self, resource: Resource, within_s: float) -> Times:
        level = self._registry.levels[resource.level]
        total_s = max(0.01, min(level.total_s, within_s))
        return Times(min(level.connect_s, total_s), min(level.read_s, total_s), total_s)

    def _ms_since(self, began_s: float) -> int:
        return max(0, round((self.clock.monotonic_s() - began_s) * 1000))


def _refused(raised: Exception, resource: Resource, of_caller: bool) -> ProviderError:
    """Whatever an answer does to those who judge and read it, it is the answer that is bad. A
    request that is wholly ours is nobody's fault: a node may lack what another has."""
    if isinstance(raised, ProviderError):
        if raised.error_class is not ErrorClass.CALLER_FAULT or of_caller:
            return raised
        lacks = resource.kind is Kind.RPC
        return ProviderError(ErrorClass.UNKNOWN if lacks else ErrorClass.BAD_PAYLOAD, str(raised))
    log.error("provider_answer_unreadable", resource=resource.id, exc_info=raised)
    return ProviderError(
        ErrorClass.BAD_PAYLOAD, f"its answer cannot be read: {type(raised).__name__}"
    )


async def _few_at_once(
    one: Callable[[PreparedRequest], Awaitable[list[Record]]],
    requests: Sequence[PreparedRequest],
    at_once: int,
) -> list[list[Record]]:
    """What each of them brought; `at_once` go on at one time."""
    if len(requests) == 1:
        return [await one(requests[0])]
    slots = asyncio.Semaphore(at_once)

    async def in_turn(request: PreparedRequest) -> list[Record]:
        async with slots:
            return await one(request)

    return await asyncio.gather(*map(in_turn, requests))


def _is_unknown(error: ProviderError | Skipped) -> bool:
    return isinstance(error, ProviderError) and error.error_class is ErrorClass.UNKNOWN


async def _in_time(asked: Awaitable[Sequence[Record]], seconds: float) -> list[Record]:
    """Raises ProviderError, transient, also where nobody of those behind it answers."""
    try:
        async with asyncio.timeout(seconds):
            return list(await asked)
    except TimeoutError:
        raise ProviderError(ErrorClass.TRANSIENT, "no answer in time") from None
    except NoAnswer as error:
        raise ProviderError(ErrorClass.TRANSIENT, str(error)) from None


@dataclass(slots=True)
class _Call:
    started_at_ms: int
    began_s: float
    purpose: Purpose
    status: int | None = None
