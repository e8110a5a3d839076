"""Leases: exclusive locks in the hot store that expire, renew themselves and fence writes.

`lock:<name>` holds `<token> <nonce> <holder>`. Every script that writes under a lease compares
the whole value inside Redis. The token is a counter; the nonce distinguishes equal tokens if the
store lost its counter. Others may write to the store: a lock of another type counts as free, and
one that does not expire, or not within LONGEST_LEASE_MS, gets an expiry, which a living holder
renews.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from stores.hot.replies import elements, text, text_or_null, whole_number
from stores.hot.store import DEADLINE_S, HotStore, Script, StoreRefused, StoreUnavailable
from timing.backoff import Backoff

_SLOWEST_RETRY_S: Final = 0.5  # after a renewal that got no answer
_FIRST_PAUSE_S: Final = 0.1
_MOST_REFUSALS: Final = 6  # about 3 s with the pauses between them
_FINAL_REFUSALS: Final = frozenset(("OOM", "NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"))
_CLEANUP_S: Final = 1.0

LONGEST_LEASE_MS: Final = 300_000  # the largest WORKER_LOCK_TTL_S

_LONGEST_TOKEN: Final = 15  # digits

_DONE: Final = whole_number(0, 1)
_ACQUIRED: Final = elements(_DONE, text, whole_number(-1))
_HELD: Final = elements(text_or_null, whole_number(-2))

T = TypeVar("T")
log = structlog.get_logger(__name__)

# acquire(lock, counter; nonce and holder, ttl, longest ttl): takes the lock if it is free, or holds
# this nonce and holder already.
# A counter that cannot be counted up starts again at 1; Lua writes a token below 10^14 in digits.
# Returns {1, value, token} when taken, {0, the current holder's value, 0} when not; -1 in place of
# the last 0 if the lock would not have expired.
_ACQUIRE: Final = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
  local own, rest = string.match(held, '^(%d+) (.*)$')
  if rest == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {1, held, tonumber(own)}
  end
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl ~= -1 and ttl <= tonumber(ARGV[3]) then return {0, held, 0} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {0, held, -1}
end
local token = redis.pcall('INCR', KEYS[2])
if not string.find(tostring(token), '^[1-9]%d*$') then
  token = 1
  redis.call('SET', KEYS[2], token)
end
local value = token .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
return {1, value, token}
"""

# renew(lock; value, ttl): resets the time to live.
# Returns 1, or 0 when the lock holds another value.
_RENEW: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# release(lock; the value without its token): deletes the lock, whatever its token.
# Returns 1, or 0 when the lock holds another value.
_RELEASE: Final = """
local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' or string.match(held, '^%d+ (.*)$') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# holder(lock): reads the lock.
# Returns {value or nil, remaining ms}.
_HOLDER: Final = """
local held = redis.pcall('GET', KEYS[1])
return {type(held) == 'string' and held, redis.call('PTTL', KEYS[1])}
"""


class LeaseLost(Exception):
    """The lease has expired or another process holds it; nothing may be written under it."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The holder of a lease, and the ms until it expires unless it is renewed."""

    holder: str
    token: int
    ttl_ms: int


def _boot_clock() -> float:
    """Monotonic seconds that include suspend where the system has such a clock (Linux)."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """A held lease, which renews itself every `ttl_s` / 3 until it is released or lost.

    `async with lease:` releases it at the end. If the lease is lost meanwhile, the body is
    cancelled and LeaseLost is raised. Writes are allowed only while Redis holds `value` at `key`.
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
        self._renew = store.script("renew", _RENEW)
        self._release = store.script("release", _RELEASE)
        self._ttl_s = ttl_s
        self._clock = clock
        # Counted from before the command was sent, so our clock ends before Redis's does.
        self._expires_at = asked_at + ttl_s
        self._released = False
        self._timeouts: list[asyncio.Timeout] = []
        self._renewal = asyncio.create_task(self._renew_until_over(), name=f"lease {name}")

    @property
    def held(self) -> bool:
        """Whether the lease is held by our own clock, which expires before the store's."""
        if not self._released and not self.lost.is_set() and self._clock() >= self._expires_at:
            self._mark_lost("it expired")
        return not self._released and not self.lost.is_set()

    def check(self) -> None:
        """Raises LeaseLost unless the lease is held by our own clock; sends nothing."""
        if not self.held:
            raise LeaseLost(f"the {self.name} lease has expired or was lost")

    def raise_if_lost(self, answer: object) -> None:
        """Raises LeaseLost if a script answered 'lost': the lock does not hold our value."""
        if answer == b"lost":
            raise LeaseLost(f"another process holds the {self.name} lease")

    async def release(self) -> None:
        """Releases the lease if it is still ours. Never raises, because it also expires."""
        if self._released:
            return
        self._released = True
        self._renewal.cancel()
        await asyncio.gather(self._renewal, return_exceptions=True)
        await _try_release(self._release, self.key, self.value.partition(" ")[2])

    async def __aenter__(self) -> Self:
        self.check()
        body = asyncio.timeout(None)
        await body.__aenter__()
        self._timeouts.append(body)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeouts.pop().__aexit__(kind, error, trace)
        except TimeoutError:
            raise LeaseLost(f"the {self.name} lease was lost") from error
        finally:
            await self.release()

    async def _renew_until_over(self) -> None:
        wait_s = self._ttl_s / 3
        slowest_s = min(_SLOWEST_RETRY_S, self._ttl_s / 10)
        backoff = Backoff(slowest_s / 4, slowest_s)
        while True:
            await asyncio.sleep(min(wait_s, max(0.0, self._expires_at - self._clock())))
            if not self.held:
                return
            asked_at = self._clock()
            try:
                ours = await self._renew.run(
                    [self.key],
                    [self.value, round(self._ttl_s * 1000)],
                    reply=_DONE,
                    deadline_s=min(DEADLINE_S, self._expires_at - asked_at),
                )
            except StoreUnavailable as error:
                log.warning("lease_not_renewed", lease=self.name, error=str(error))
                wait_s = backoff.pause_s()
                continue
            except Exception:
                log.exception("lease_not_renewed", lease=self.name)
                self._mark_lost("its renewal failed")
                return
            if not ours:
                self._mark_lost("another process holds it")
                return
            self._expires_at = asked_at + self._ttl_s
            backoff.reset()
            wait_s = self._ttl_s / 3

    def _mark_lost(self, reason: str) -> None:
        if self.lost.is_set():
            return
        log.warning("lease_lost", lease=self.name, token=self.token, reason=reason)
        self.lost.set()
        for body in self._timeouts:
            body.reschedule(0.0)


def lock_key(name: str) -> str:
    """The key whose value must be `Lease.value` for a write under the lease."""
    return f"lock:{name}"


def new_nonce() -> str:
    """What tells the attempts of one process from those of others."""
    return secrets.token_hex(6)


async def try_acquire(
    store: HotStore,
    name: str,
    *,
    holder: str,
    ttl_s: float,
    clock: Callable[[], float] = _boot_clock,
    nonce: str | None = None,
) -> Lease | None:
    """Takes the lease; None while another process holds it. `holder` describes us to others.

    Raises StoreUnavailable. If the store granted the lease but its reply was lost, as by a store
    that froze, the lease stays blocked until it expires; but for who asks again with the same
    `nonce`, of `new_nonce`, which is only for who holds no such lease any more.
    """
    nonce_and_holder = f"{nonce or new_nonce()} {_one_line(holder)}"
    asked_at = clock()
    key = lock_key(name)
    try:
        taken, _, token = await store.script("acquire", _ACQUIRE).run(
            [key, f"{key}:token"],
            [nonce_and_holder, round(ttl_s * 1000), LONGEST_LEASE_MS],
            reply=_ACQUIRED,
        )
    except asyncio.CancelledError:
        # The command may have run, so the lock may exist without a Lease that would release it.
        await _try_release(store.script("release", _RELEASE), key, nonce_and_holder)
        raise
    if not taken:
        if token:
            log.warning("lock_without_expiry", lease=name, expires_in_s=ttl_s)
        return None
    return Lease(
        store,
        name,
        value=f"{token} {nonce_and_holder}",
        token=token,
        ttl_s=ttl_s,
        asked_at=asked_at,
        clock=clock,
    )


async def retry_under_lease(lease: Lease, write: Callable[[], Awaitable[T]]) -> T:
    """Repeats an idempotent write until it succeeds or the lease is lost.

    Transient refusals are retried like missing answers. Raises LeaseLost, and StoreRefused after
    _MOST_REFUSALS other refusals, or at once for one of _FINAL_REFUSALS.
    """
    refusals, backoff = 0, Backoff(_FIRST_PAUSE_S, DEADLINE_S)
    while True:
        lease.check()
        try:
            return await write()
        except StoreRefused as error:
            refusals += not error.transient
            if refusals >= _MOST_REFUSALS or error.code in _FINAL_REFUSALS:
                raise
            log.warning("store_refused", error=str(error))
        except StoreUnavailable as error:
            log.warning("store_unavailable", error=str(error))
        await asyncio.sleep(backoff.pause_s())


async def current_holder(store: HotStore, name: str) -> LeaseHolder | None:
    """The lease's holder, or None if it is free; one command. Raises StoreUnavailable."""
    value, ttl_ms = await store.script("holder", _HOLDER).run([lock_key(name)], reply=_HELD)
    if value is None:
        return None
    token, _, rest = value.decode(errors="replace").partition(" ")
    known = token.isdecimal() and len(token) <= _LONGEST_TOKEN
    return LeaseHolder(rest.partition(" ")[2], int(token) if known else 0, ttl_ms)


async def _try_release(release: Script, key: str, nonce_and_holder: str) -> None:
    try:
        await release.run([key], [nonce_and_holder], reply=_DONE, deadline_s=_CLEANUP_S)
    except StoreUnavailable as error:
        log.warning("lease_not_released", key=key, error=str(error))


def _one_line(holder: str) -> str:
    return " ".join(holder.split())[:200]
