"""Leases: who may write under a name, and until when.

`lock:<name>` holds `<token> <nonce> <holder>` and expires. Every script that writes on a lease's
behalf compares the whole value inside Redis: the token says who came later, the nonce keeps
tokens apart that were counted before and after the store was lost.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from stores.hot.store import DEADLINE_S, HotStore, Script, StoreRefused, StoreUnavailable
from timing.backoff import Backoff

_SLOWEST_RETRY_S: Final = 0.5  # after a renewal that got no answer
_FIRST_PAUSE_S: Final = 0.1
_REFUSALS: Final = 6  # with the pauses between them: 3 s
_FINAL_REFUSALS: Final = frozenset(("OOM", "NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"))
_CLEANUP_S: Final = 1.0

T = TypeVar("T")
log = structlog.get_logger(__name__)

# acquire(lock, counter; nonce and holder, ttl): takes the lock if it is free.
# Returns {1, value, token} when taken, {0, the value that holds it, 0} when not.
_ACQUIRE: Final = """
local held = redis.call('GET', KEYS[1])
if held then return {0, held, 0} end
local token = redis.call('INCR', KEYS[2])
local value = token .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
return {1, value, token}
"""

# renew(lock; value, ttl): starts the lease's life anew.
# Returns 1, or 0 when it is no longer ours.
_RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# release(lock; the value without its token): gives the lock back, whichever token we got.
# Returns 1, or 0 when it was not ours.
_RELEASE: Final = """
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%d+ (.*)$') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# holder(lock): who has it.
# Returns {value or nil, ms that it still has}.
_HOLDER: Final = """
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
"""


class LeaseLost(Exception):
    """The lease is over: somebody else may hold it, so nothing more may be written under it."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a lease, and for how many ms it will still do so unless it is renewed."""

    holder: str
    token: int
    ttl_ms: int


def _boot_clock() -> float:
    """Seconds that go on while the machine sleeps, where the system can tell them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """A held lease. It renews itself every third of its life until it is released or lost.

    `async with lease:` cancels its body when the lease is lost, raises LeaseLost then, and
    releases the lease at the end in any case. `value` is what Redis must hold at `key` for a
    write to be allowed.
    """

    def __init__(
        self,
        store: HotStore,
        name: str,
        *,
        value: str,
        token: int,
        ttl_s: float,
        asked_at: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.key = lock_key(name)
        self.value = value
        self.token = token
        self.holder = value.split(" ", 2)[2]
        self.lost = asyncio.Event()
        self._renew = store.script(_RENEW)
        self._release = store.script(_RELEASE)
        self._ttl_s = ttl_s
        self._clock = clock
        # Redis counts from when it got the command, which was later than when we sent it.
        self._ends = asked_at + ttl_s
        self._released = False
        self._bodies: list[asyncio.Timeout] = []
        self._keeper = asyncio.create_task(self._keep(), name=f"lease {name}")

    @property
    def held(self) -> bool:
        """Whether it is ours by our own clock, which is never later than the store's."""
        if not self._released and not self.lost.is_set() and self._clock() >= self._ends:
            self._lose("its time ran out")
        return not self._released and not self.lost.is_set()

    def check(self) -> None:
        """Raises LeaseLost unless the lease is held. Asks our own clock, not the store."""
        if not self.held:
            raise LeaseLost(f"the {self.name} lease is over")

    def raise_if_lost(self, answer: object) -> None:
        """Raises LeaseLost when a script answered 'lost': the lock does not hold our value."""
        if answer == b"lost":
            raise LeaseLost(f"the {self.name} lease is held by somebody else")

    async def release(self) -> None:
        """Gives the lease back if it is still ours. Never raises: it expires by itself too."""
        if self._released:
            return
        self._released = True
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await _give_back(self._release, self.key, self.value.partition(" ")[2])

    async def __aenter__(self) -> Self:
        self.check()
        body = asyncio.timeout(None)
        await body.__aenter__()
        self._bodies.append(body)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._bodies.pop().__aexit__(kind, error, trace)
        except TimeoutError:
            raise LeaseLost(f"the {self.name} lease is over") from error
        finally:
            await self.release()

    async def _keep(self) -> None:
        wait_s = self._ttl_s / 3
        slowest_s = min(_SLOWEST_RETRY_S, self._ttl_s / 10)
        backoff = Backoff(slowest_s / 4, slowest_s)
        while True:
            await asyncio.sleep(min(wait_s, max(0.0, self._ends - self._clock())))
            if not self.held:
                return
            asked_at = self._clock()
            try:
                ours = await self._renew.run(
                    [self.key],
                    [self.value, round(self._ttl_s * 1000)],
                    deadline_s=min(DEADLINE_S, self._ends - asked_at),
                )
            except StoreUnavailable as error:
                log.warning("lease_not_renewed", lease=self.name, reason=str(error))
                wait_s = backoff.pause_s()
                continue
            except Exception:
                log.exception("lease_not_renewed", lease=self.name)
                self._lose("its renewal failed")
                return
            if not ours:
                self._lose("the store says that it is not ours")
                return
            self._ends = asked_at + self._ttl_s
            backoff.reset()
            wait_s = self._ttl_s / 3

    def _lose(self, why: str) -> None:
        if self.lost.is_set():
            return
        log.warning("lease_lost", lease=self.name, token=self.token, why=why)
        self.lost.set()
        for body in self._bodies:
            body.reschedule(0.0)


def lock_key(name: str) -> str:
    """The key whose value must be `Lease.value` for a write under the lease."""
    return f"lock:{name}"


async def try_acquire(
    store: HotStore,
    name: str,
    *,
    holder: str,
    ttl_s: float,
    clock: Callable[[], float] = _boot_clock,
) -> Lease | None:
    """The lease, or None while somebody else has it. `holder` is shown to those who wait.

    Raises StoreUnavailable; should the store have granted the lease all the same, nobody has it
    until it expires.
    """
    mark = f"{secrets.token_hex(6)} {_one_line(holder)}"
    asked_at = clock()
    key = lock_key(name)
    try:
        taken, value, token = await store.script(_ACQUIRE).run(
            [key, f"{key}:token"], [mark, round(ttl_s * 1000)]
        )
    except asyncio.CancelledError:
        # The command may have run: leave no lock behind that nobody knows of.
        await _give_back(store.script(_RELEASE), key, mark)
        raise
    if not taken:
        return None
    return Lease(
        store,
        name,
        value=value.decode(),
        token=token,
        ttl_s=ttl_s,
        asked_at=asked_at,
        clock=clock,
    )


async def retry_under_lease(lease: Lease, write: Callable[[], Awaitable[T]]) -> T:
    """Repeats a write that is safe to repeat, until it is answered or the lease is over.

    A refusal that passes is waited out like silence. Raises LeaseLost, and StoreRefused when the
    store keeps refusing or will not change its mind.
    """
    refusals, backoff = 0, Backoff(_FIRST_PAUSE_S, DEADLINE_S)
    while True:
        lease.check()
        try:
            return await write()
        except StoreRefused as error:
            refusals += not error.passing
            if refusals >= _REFUSALS or error.code in _FINAL_REFUSALS:
                raise
            log.warning("store_refused", reason=str(error))
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=str(error))
        await asyncio.sleep(backoff.pause_s())


async def current_holder(store: HotStore, name: str) -> LeaseHolder | None:
    """Who holds the lease now, in one command. Raises StoreUnavailable."""
    value, ttl_ms = await store.script(_HOLDER).run([lock_key(name)])
    if value is None:
        return None
    token, _, rest = value.decode(errors="replace").partition(" ")
    return LeaseHolder(rest.partition(" ")[2], int(token) if token.isdigit() else 0, ttl_ms)


async def _give_back(release: Script, key: str, mark: str) -> None:
    try:
        await release.run([key], [mark], deadline_s=_CLEANUP_S)
    except StoreUnavailable as error:
        log.warning("lease_not_released", key=key, reason=str(error))


def _one_line(holder: str) -> str:
    return " ".join(holder.split())[:200]
