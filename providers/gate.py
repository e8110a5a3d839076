"""The gate before every call: breaker, pauses and budget, decided inside the hot store.

It is told the outcome afterwards, and alone knows how members lie in the store.

The store's clock counts, so hosts need not agree on the time; a test may give another.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from providers.account import SWITCHES, Account, usage_key
from providers.breaker import BREAKER_LUA
from providers.budget import BUDGET_LUA, limit_words, quota_ends_ms, room_left
from providers.errors import ErrorClass, ProviderError
from providers.health import HEALTH_LUA
from providers.members import (
    LUA_FIELDS,
    LUA_SHARED,
    UNKNOWN_MS,
    Member,
    read_member,
    read_named,
)
from stores.hot.read import Read
from stores.hot.replies import elements, list_of, named_texts, text, text_or_null, whole_number
from stores.hot.store import HotStore, Word
from texts.printable import printable
from timing.clock import Clock, SystemClock

KEPT_MS: Final = 40 * 86_400_000  # longer than a month's quota is out
PERMIT_MS: Final = 45_000  # the longest call of any level
DAY_MS: Final = 86_400_000
FIRST_PAUSE_MS: Final = 60_000
LONGEST_PAUSE_MS: Final = 900_000
TRIAL_MS: Final = 60_000  # after a refusal, until a pause that nobody has stated is tried
PROBES_SHARE: Final = 0.5  # of an hour's or a longer limit: the rest is for who comes back
_LONG_S: Final = 3600
How = Literal["", "forced", "probe", "demand"]

_NOW: Final = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
# KEYS: member, account, usage, probes. ARGV: now or '', how, permit ms, weight, last index of the
# limits, the limits (take_room), those of probes.
# A pause that no provider has stated (`guess`) is tried by one probe a minute.
# Reply: verdict (a right, budget, open, or the class for which it is out), until.
_ADMIT: Final = f"""{BREAKER_LUA}{BUDGET_LUA}{_NOW}
local function bar(verdict, till)
  local reason = verdict == 'budget' and 'no_budget' or 'out'
  redis.call('HINCRBY', KEYS[3], 'skipped:' .. reason, 1)
  redis.call('PEXPIRE', KEYS[3], {KEPT_MS})
  return {{verdict, math.floor(till)}}
end
local pause = redis.call('HMGET', KEYS[2], 'pause_until', 'pause_class', 'guess', 'trial_at')
local paused = pause[1] and now < tonumber(pause[1])
if paused and (pause[1] ~= pause[3] or ARGV[2] ~= 'probe' and ARGV[2] ~= 'demand'
    or now < tonumber(pause[4])) then
  return bar(pause[2], tonumber(pause[1]))
end
local why, right = barred(KEYS[1], now, ARGV[2], tonumber(ARGV[3]))
if why then return bar(why, right) end
local weight, last = tonumber(ARGV[4]), tonumber(ARGV[5])
local soonest = take_room(KEYS[4], now, weight, ARGV, last + 1, #ARGV)
  or take_room(KEYS[2], now, weight, ARGV, 6, last)
redis.call('PEXPIRE', KEYS[1], {KEPT_MS})
redis.call('PEXPIRE', KEYS[2], {KEPT_MS})
redis.call('PEXPIRE', KEYS[4], {KEPT_MS})
if soonest then
  if right == 'permit' or right == 'trial' then redis.call('HDEL', KEYS[1], 'permit_until') end
  return bar('budget', soonest)
end
if right == 'permit' and ARGV[2] == 'probe' then redis.call('HSET', KEYS[1], 'probed_at', now) end
if paused then
  redis.call('HSET', KEYS[2], 'trial_at', now + {TRIAL_MS})
  right = 'trial'
end
return {{right, 0}}
"""
# KEYS: of each outcome: member, account, usage; then of each text that is kept. ARGV: now, count of
# outcomes; of each outcome: right, verdict (ok, failure, neutral), ms, error class or '', where the
# class applies (member, account or ''), for how many ms (0: a growing pause), random, message;
# then of each text: ms that it is kept, and the text.
# Reply: of each outcome: opened, closed or '', and until when the member or account is out.
_SETTLE: Final = f"""{BREAKER_LUA}{HEALTH_LUA}{_NOW}
local function settle(member, account, usage, right, outcome, ms, class, where, till, chance, told)
  if till > 0 then till = now + till end
  local changed = ''
  if outcome == 'neutral' then
    if right == 'permit' or right == 'trial' then redis.call('HDEL', member, 'permit_until') end
  else
    changed = judged(member, now, right, outcome == 'failure', chance)
    measured(member, now, outcome == 'failure' and 0 or 1, ms)
  end
  if where == 'account' then
    local f = redis.call('HMGET', account, 'pause_until', 'pauses', 'guess', 'trial_at')
    local held, n = tonumber(f[1]) or 0, tonumber(f[2]) or 0
    local trial = f[1] == f[3] and tonumber(f[4]) or held
    local stated = till > 0
    if not stated then till = now + math.min({FIRST_PAUSE_MS} * 2 ^ n, {LONGEST_PAUSE_MS}) end
    trial = math.max(trial, stated and till or now + {TRIAL_MS})
    if held <= now then n = math.min(n + 1, 10) end
    if not stated and till > held then redis.call('HSET', account, 'guess', till) end
    till = math.max(till, held)
    redis.call('HSET', account, 'pause_until', till, 'pause_class', class, 'pauses', n,
      'trial_at', trial)
  elseif where == 'member' then
    redis.call('HSET', member, 'out_until', till, 'out_class', class)
  elseif outcome == 'ok' then
    redis.call('HDEL', account, 'pauses')
    if right == 'trial' then
      local f = redis.call('HMGET', account, 'pause_until', 'guess')
      if f[1] == f[2] then redis.call('HDEL', account, 'pause_until', 'pause_class', 'guess') end
      redis.call('HDEL', member, 'out_until', 'out_class')
    end
  end
  redis.call('HINCRBY', usage, 'requests', 1)
  if class == '' then
    redis.call('HINCRBY', usage, 'success', 1)
    redis.call('HINCRBY', usage, 'sum_ms', ms)
    local bound = 1
    while bound < ms do bound = math.ceil(bound * 1.3) end
    redis.call('HINCRBY', usage, 'ms:' .. bound, 1)
  else
    redis.call('HINCRBY', usage, 'failed:' .. class, 1)
    redis.call('HSET', usage, 'last_error', told, 'last_error_at', string.format('%.0f', now))
    redis.call('HSET', member, 'last_error', told)
  end
  if changed == 'opened' then redis.call('HINCRBY', usage, 'trips', 1) end
  for _, key in ipairs({{member, account, usage}}) do redis.call('PEXPIRE', key, {KEPT_MS}) end
  return changed, math.floor(till)
end
local n, reply = tonumber(ARGV[2]), {{}}
for i = 0, n - 1 do
  local k, a = 3 * i, 8 * i + 2
  reply[2 * i + 1], reply[2 * i + 2] = settle(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], ARGV[a + 1],
    ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 4], ARGV[a + 5], tonumber(ARGV[a + 6]),
    tonumber(ARGV[a + 7]), ARGV[a + 8])
end
local a = 8 * n + 3
for i = 3 * n + 1, #KEYS do
  redis.call('SET', KEYS[i], ARGV[a + 1], 'PX', ARGV[a])
  a = a + 2
end
return reply
"""
# KEYS: switches, then of each member: member, account, unknown; then of texts. ARGV: now, count of
# members, their ids, subjects. Reply: now, then a text for each member, empty if nothing is known:
# the values of members.FIELDS, of members.SHARED, the switch, and until when each subject is
# remembered; then the texts.
_LOOK: Final = f"""{_NOW}
local n, reply = tonumber(ARGV[2]), {{now}}
local switches = n > 0 and redis.call('HMGET', KEYS[1], unpack(ARGV, 3, n + 2)) or {{}}
local subjects = #ARGV > n + 2
for i = 1, n do
  local own = redis.call('HMGET', KEYS[3 * i - 1], {LUA_FIELDS})
  local shared = redis.call('HMGET', KEYS[3 * i], {LUA_SHARED})
  for j = 1, #shared do own[#own + 1] = shared[j] end
  own[#own + 1] = switches[i]
  if subjects then
    local unknown = redis.call('HMGET', KEYS[3 * i + 1], unpack(ARGV, n + 3))
    for j = 1, #unknown do own[#own + 1] = unknown[j] end
  end
  local known = false
  for j = 1, #own do
    if own[j] then known = true else own[j] = '' end
  end
  reply[i + 1] = known and table.concat(own, '\\31') or ''
end
if #KEYS > 3 * n + 1 then
  local texts = redis.call('MGET', unpack(KEYS, 3 * n + 2))
  for i = 1, #texts do reply[n + 1 + i] = texts[i] end
end
return reply
"""
# KEYS: unknown. ARGV: now, names of subjects.
_REMEMBER: Final = f"""{_NOW}
for i = 2, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], now + {UNKNOWN_MS}) end
redis.call('PEXPIRE', KEYS[1], {UNKNOWN_MS})
return 1
"""
_ROOMS: Final = """
local reply = {}
for i = 1, #KEYS do reply[i] = redis.call('HGETALL', KEYS[i]) end
return reply
"""
# KEYS: member, account, usage. ARGV: now, right, how, why. The call that was admitted is not made:
# the next one need not wait for its end, nor for the time between two probes or trials.
_GIVE_BACK: Final = f"""{_NOW}
local right, how = ARGV[2], ARGV[3]
if right == 'permit' or right == 'trial' then
  redis.call('HDEL', KEYS[1], 'permit_until')
  if how == 'probe' then redis.call('HDEL', KEYS[1], 'probed_at') end
  if right == 'trial' then redis.call('HSET', KEYS[2], 'trial_at', now) end
end
redis.call('HINCRBY', KEYS[3], 'skipped:' .. ARGV[4], 1)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, {KEPT_MS}) end
return 1
"""
_SWITCH: Final = """
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""
# KEYS: member, usage. ARGV: now, random, message. An answer that came was not true: a failure.
_ACCUSE: Final = f"""{BREAKER_LUA}{HEALTH_LUA}{_NOW}
measured(KEYS[1], now, 0, 0)
redis.call('HINCRBY', KEYS[2], 'failed:bad_payload', 1)
redis.call('HINCRBY', KEYS[2], 'success', -1)
redis.call('HSET', KEYS[2], 'last_error', ARGV[3], 'last_error_at', string.format('%.0f', now))
redis.call('HSET', KEYS[1], 'last_error', ARGV[3])
return judged(KEYS[1], now, 'ok', true, tonumber(ARGV[2]))
"""


class Right(StrEnum):
    """By what right a call is made; the outcome is judged by it."""

    OK = "ok"
    PERMIT = "permit"
    FORCED = "forced"
    TRIAL = "trial"  # in spite of a pause that was guessed, or, demanded, of what it was out for


_RIGHTS: Final = frozenset(map(str, Right))


class Skipped(Exception):
    """The member must not be asked now: `reason` as in errors.Tried, `until_ms` if it is known."""

    def __init__(self, reason: str, message: str, until_ms: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.until_ms = until_ms


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a call that was admitted by this right; `error` None if it brought what was asked."""

    account: Account
    right: Right
    ms: int
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that the hot store keeps for so long."""

    key: str
    text: bytes
    ms: int


@dataclass(frozen=True, slots=True)
class Settled:
    """`changed`: `opened` or `closed` where the outcome did that. `until_ms`: out until then."""

    changed: str
    until_ms: int


class Gate:
    def __init__(
        self,
        store: HotStore,
        *,
        fraction: float,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._admit = store.script("provider_admit", _ADMIT)
        self._give_back = store.script("provider_give_back", _GIVE_BACK)
        self._settle = store.script("provider_settle", _SETTLE)
        self._look = store.script("provider_look", _LOOK)
        self._accuse = store.script("provider_accuse", _ACCUSE)
        self._remember = store.script("provider_remember", _REMEMBER)
        self._rooms = store.script("provider_rooms", _ROOMS)
        self._switch = store.script("provider_switch", _SWITCH)
        self._fraction = fraction
        self._clock: Clock = clock or SystemClock()
        self._own_time = clock is not None and not isinstance(clock, SystemClock)
        self._chance = chance

    def _now(self) -> str | int:
        return self._clock.wall_ms() if self._own_time else ""

    async def admit(
        self, account: Account, *, weight: int = 1, how: How = "", budget: bool = True
    ) -> Right:
        """The right to make one call, whose outcome must be told by `settle`, unless it is given
        back unused. Raises Skipped.

        `budget`: whether the provider's own limits are counted here."""
        resource = account.resource
        counted, now_ms = resource.provider.limits if budget else (), self._clock.wall_ms()
        limits = limit_words(counted, self._fraction, now_ms)
        long = [each for each in counted if how == "probe" and each.window_s >= _LONG_S]
        probes = limit_words(long, self._fraction * PROBES_SHARE, now_ms)
        verdict, until_ms = await self._admit.run(
            [account.member_key, account.account_key, usage_key(resource.id), account.probes_key],
            [self._now(), how, PERMIT_MS, weight, 5 + len(limits), *limits, *probes],
            reply=elements(text, whole_number()),
        )
        word = verdict.decode()
        if word in _RIGHTS:
            return Right(word)
        raise _skipped(word, until_ms)

    async def give_back(self, account: Account, right: Right, how: How, why: str) -> None:
        """The call that was admitted will not be made; `why` as in errors.Tried."""
        await self._give_back.run(
            [account.member_key, account.account_key, usage_key(account.resource.id)],
            [self._now(), right, how, why],
            reply=whole_number(),
        )

    async def settle(
        self,
        account: Account,
        right: Right,
        *,
        ms: int,
        error: ProviderError | None = None,
    ) -> Settled:
        """Tells the outcome of a call that was admitted."""
        [settled] = await self.settle_all([Outcome(account, right, ms, error)])
        return settled

    async def settle_all(
        self, outcomes: Sequence[Outcome], kept: Sequence[Kept] = ()
    ) -> list[Settled]:
        """Tells these outcomes and keeps these texts, all in one command or nothing."""
        keys: list[str] = []
        words: list[Word] = [self._now(), len(outcomes)]
        for each in outcomes:
            account = each.account
            keys += (account.member_key, account.account_key, usage_key(account.resource.id))
            words += (each.right, *self._told(each))
        for text_ in kept:
            keys.append(text_.key)
            words += (text_.ms, text_.text)
        shape = elements(*(text, whole_number()) * len(outcomes))
        told = await self._settle.run(keys, words, reply=shape)
        return [
            Settled(changed.decode(), until)
            for changed, until in zip(told[::2], told[1::2], strict=True)
        ]

    def _told(self, outcome: Outcome) -> tuple[Word, ...]:
        error = outcome.error
        if error is None:
            return "ok", outcome.ms, "", "", 0, 0, ""  # chance is of failures
        verdict, where, for_ms = _consequence(error, self._clock.wall_ms())
        chance = f"{self._chance():.6f}"
        told = printable(str(error))
        return verdict, outcome.ms, error.error_class, where, for_ms, chance, told

    async def remember(self, account: Account, names: Sequence[str]) -> None:
        """The resource has nothing of these (Question.name_of): nobody asks it for them for a
        while."""
        await self._remember.run([account.unknown_key], [self._now(), *names], reply=whole_number())

    async def accuse(self, account: Account, message: str) -> None:
        """Counts an answer that was taken for a success as a failure: its value was not true."""
        await self._accuse.run(
            [account.member_key, usage_key(account.resource.id)],
            [self._now(), f"{self._chance():.6f}", printable(message)],
            reply=text,
        )

    async def look(self, accounts: Sequence[Account], subjects: Sequence[str] = ()) -> list[Member]:
        """What is known of each of them, in their order, in one command."""
        members, _ = await self.look_and_read(accounts, subjects, ())
        return members

    def read_of_look(self, accounts: Sequence[Account]) -> Read[list[Member]]:
        """The read of `look`, without subjects."""
        keys = [SWITCHES]
        for each in accounts:
            keys += [each.member_key, each.account_key, each.unknown_key]
        ids = [each.resource.id for each in accounts]

        def made(reply: Sequence[Any]) -> list[Member]:
            now_ms, *found = reply
            return [read_member(each, (), now_ms) for each in found]

        return Read(
            "provider_look",
            _LOOK,
            keys,
            [self._now(), len(ids), *ids],
            elements(whole_number(), *(text for _ in ids)),
            made,
        )

    async def look_and_read(
        self, accounts: Sequence[Account], subjects: Sequence[str], texts: Sequence[str]
    ) -> tuple[list[Member], list[bytes | None]]:
        """As `look`, and the texts under these keys, in the same command."""
        keys = [SWITCHES]
        for each in accounts:
            keys += [each.member_key, each.account_key, each.unknown_key]
        keys += texts
        ids = [each.resource.id for each in accounts]
        now_ms, *found = await self._look.run(
            keys,
            [self._now(), len(ids), *ids, *subjects],
            reply=elements(whole_number(), *(text for _ in ids), *(text_or_null for _ in texts)),
        )
        members = [read_member(each, subjects, now_ms) for each in found[: len(ids)]]
        return members, found[len(ids) :]

    async def rooms(self, accounts: Sequence[Account]) -> list[dict[int, int]]:
        """What is left of each one's limits, by window in seconds."""
        keys = [each.account_key for each in accounts]
        found = await self._rooms.run(keys, reply=list_of(named_texts, len(keys)))
        now_ms = self._clock.wall_ms()
        return [
            room_left(read_named(flat), each.resource.provider.limits, self._fraction, now_ms)
            for each, flat in zip(accounts, found, strict=True)
        ]

    async def switch(self, resource_id: str, on: bool | None) -> None:
        """Turns a resource on or off for all processes; None: as its row says."""
        word = "" if on is None else "on" if on else "off"
        await self._switch.run([SWITCHES], [resource_id, word], reply=whole_number())


def _skipped(word: str, until_ms: int) -> Skipped:
    match word:
        case "budget":
            return Skipped("no_budget", "its budget is used up", until_ms)
        case "open":
            return Skipped("out", "its breaker is open", until_ms)
        case _:
            return Skipped("out", f"it is out: {word}", until_ms)


def _consequence(error: ProviderError, now_ms: int) -> tuple[str, str, int]:
    """Outcome for the breaker, what is out (the member, the account), and for how many ms."""
    stated_ms = max(1, error.until_ms - now_ms) if error.until_ms else 0
    match error.error_class:
        case ErrorClass.TRANSIENT | ErrorClass.BAD_PAYLOAD:
            return "failure", "", 0
        case ErrorClass.RATE_LIMITED:
            return "neutral", "account", stated_ms
        case ErrorClass.QUOTA_SPENT:
            left_ms = quota_ends_ms(now_ms, month=False) - now_ms
            return "neutral", "account", stated_ms or left_ms
        case ErrorClass.KEY_REJECTED | ErrorClass.PLAN_FORBIDS | ErrorClass.GEO_BLOCKED:
            return "neutral", "member", stated_ms or DAY_MS
        case _:
            return "neutral", "", 0
