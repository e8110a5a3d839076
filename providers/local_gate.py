"""The gate of a process alone, while the hot store is away: learned pauses, and a pace.

The pace keeps every limit as long as nobody else asks.
"""

from providers.account import Account
from providers.errors import ErrorClass, ProviderError
from providers.gate import Skipped
from timing.clock import Clock

_PAUSING = frozenset(
    (
        *(ErrorClass.RATE_LIMITED, ErrorClass.QUOTA_SPENT, ErrorClass.KEY_REJECTED),
        *(ErrorClass.PLAN_FORBIDS, ErrorClass.GEO_BLOCKED),
    )
)
_PAUSE_S = 60.0


class LocalGate:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paused: dict[str, float] = {}  # by account: until then, monotonic
        self._next: dict[str, float] = {}

    def admit(self, account: Account) -> None:
        """Raises Skipped unless a call may be made now; counts it."""
        now, key = self._clock.monotonic_s(), account.account_key
        if now < self._paused.get(key, now):
            raise Skipped("out", "it is paused, as this process has learned")
        if now < self._next.get(key, now):
            raise Skipped("no_budget", "the hot store is away, and the limit is kept by a pace")
        self.asked(account)

    def asked(self, account: Account) -> None:
        """Counts a call, whoever has admitted it."""
        now, key = self._clock.monotonic_s(), account.account_key
        limits = account.resource.provider.limits
        spacing = max((limit.window_s / limit.quantity for limit in limits), default=0.0)
        self._next[key] = now + spacing * account.resource.weight

    def told(self, account: Account, error: ProviderError | None) -> None:
        """Learns a pause from the outcome of a call."""
        if error is None or error.error_class not in _PAUSING:
            return
        seconds = _PAUSE_S
        if error.until_ms is not None:
            seconds = max(0.0, (error.until_ms - self._clock.wall_ms()) / 1000)
        self._paused[account.account_key] = self._clock.monotonic_s() + seconds
