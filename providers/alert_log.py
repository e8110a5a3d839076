"""Alerts on their way into the log of events: a cause once an hour, whichever process sees it."""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from logging_setup import OutageLog
from providers.attempts import Alert
from stores.hot.event_log import LOG, TELL
from stores.hot.read import Read
from stores.hot.replies import named_texts, whole_number
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import stop_or, stop_or_done

NOTED: Final = "provider:alerts"
AGAIN_MS: Final = 3_600_000  # a cause that lasts is told again after this
_MOST_WAITING: Final = 100  # while the store is away; the oldest are left out then
_SLOW_S: Final = 5.0
_LAST_S: Final = 0.5  # when the process ends
# KEYS: the log, the cause, what is noted. ARGV: ms for which it is not told again, then its fields.
# What is noted (a hash: kind, chain and resource -> since when, when last, message) is forgotten
# after that time.
_ALERT: Final = (
    TELL
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cause = ARGV[2] .. '\\n' .. ARGV[3] .. '\\n' .. ARGV[4]
local noted = redis.pcall('HGETALL', KEYS[3])
if noted.err then
  redis.call('DEL', KEYS[3])
  noted = {}
end
for i = 1, #noted, 2 do
  local at = tonumber(string.match(noted[i + 1], '^%d+ (%d+) ') or '') or 0
  if now - at >= tonumber(ARGV[1]) then redis.call('HDEL', KEYS[3], noted[i]) end
end
local since = string.match(redis.call('HGET', KEYS[3], cause) or '', '^(%d+) ')
  or string.format('%.0f', now)
redis.call('HSET', KEYS[3], cause, since .. ' ' .. string.format('%.0f ', now) .. ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[1])
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return 0 end
tell(KEYS[1], 'kind', 'alert', 'alert', ARGV[2], 'chain', ARGV[3], 'resource', ARGV[4],
  'message', ARGV[5])
return 1
"""
)

# noted(hash): returns its fields.
_NOTED: Final = """
local noted = redis.pcall('HGETALL', KEYS[1])
return noted.err and {} or noted
"""

log = structlog.get_logger(__name__)


class AlertLog:
    """`note` takes alerts and never waits; `run` tells them until it is stopped."""

    def __init__(self, store: HotStore) -> None:
        self._alert = store.script("provider_alert", _ALERT)
        self._waiting: deque[Alert] = deque(maxlen=_MOST_WAITING)
        self._came = asyncio.Event()

    def note(self, alert: Alert) -> None:
        self._waiting.append(alert)
        self._came.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Tells what comes until `stop`, and then what is left, if that is quick."""
        outage = OutageLog(log, "provider_alerts_wait", "provider_alerts_told_again")
        while not await stop_or_done(stop, self._came.wait()):
            try:
                await self.tell()
                outage.recovered()
            except StoreUnavailable as error:
                outage.failed(error, waiting=len(self._waiting))
                if await stop_or(stop, _SLOW_S):
                    break
        with contextlib.suppress(StoreUnavailable, TimeoutError):  # the log has them
            async with asyncio.timeout(_LAST_S):
                await self.tell()

    async def tell(self) -> None:
        """Tells all that wait. Raises StoreUnavailable; what was not told then stays."""
        while self._waiting:
            alert = self._waiting[0]
            cause = "\n".join((alert.kind, alert.chain, alert.resource or ""))
            digest = hashlib.sha256(cause.encode()).hexdigest()[:24]
            await self._alert.run(
                [LOG, f"provider:alert:{digest}", NOTED],
                [AGAIN_MS, alert.kind, alert.chain, alert.resource or "", alert.message],
                reply=whole_number(0, 1),
            )
            if self._waiting and self._waiting[0] is alert:
                self._waiting.popleft()
        self._came.clear()


@dataclass(frozen=True, slots=True)
class NotedAlert:
    """An alert of the last hour: since when, and when it was last noted (UTC ms, the store's)."""

    kind: str
    chain: str
    resource: str | None
    message: str
    since_ms: int
    last_ms: int


def read_of_alerts() -> Read[list[NotedAlert]]:
    """The read of the alerts of the last hour, of all processes."""
    return Read("alerts", _NOTED, [NOTED], (), named_texts, _noted)


def _noted(flat: Sequence[bytes]) -> list[NotedAlert]:
    found = []
    for cause, told in zip(flat[::2], flat[1::2], strict=True):
        names = cause.decode(errors="replace").split("\n")
        since, _, rest = told.decode(errors="replace").partition(" ")
        last, _, message = rest.partition(" ")
        if len(names) == len(("kind", "chain", "resource")) and since.isdigit() and last.isdigit():
            kind, chain, resource = names
            found.append(NotedAlert(kind, chain, resource or None, message, int(since), int(last)))
    return sorted(found, key=lambda each: (each.kind, each.chain, each.resource or ""))
