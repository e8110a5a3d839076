"""The rate limits of simulated providers: sliding windows by client, and suspensions."""

from collections import Counter, deque
from typing import Any

from simulator.clock import Clock
from simulator.providers.sites import Site


class ProviderLimits:
    """`enabled` False counts requests but refuses none."""

    def __init__(self, clock: Clock, *, enabled: bool) -> None:
        self._clock = clock
        self._enabled = enabled
        self._windows: dict[tuple[str, str], deque[tuple[float, int]]] = {}
        self._suspended_until_s: dict[tuple[str, str], float] = {}
        self.reset()

    def reset(self) -> None:
        """Empties all windows and forgets what was broken."""
        self._windows.clear()
        self._suspended_until_s.clear()
        self.broken: Counter[str] = Counter()
        self.in_spite: Counter[str] = Counter()  # while suspended
        self.most: dict[str, dict[str, int]] = {}

    def refuses(self, site: Site, client: str, weight: int) -> float | None:
        """Counts a request; the seconds to wait if it is one too many, else None."""
        key, now_s = (site.name, client), self._clock.elapsed_s()
        until_s = self._suspended_until_s.get(key, 0.0)
        if now_s < until_s:
            self.in_spite[site.name] += 1
            return until_s - now_s if self._enabled else None
        if not site.limits:
            return None
        wait_s = self._count(site, key, now_s, weight)
        if wait_s is None:
            return None
        self.broken[site.name] += 1
        if not self._enabled:
            return None
        if site.suspends_s:
            self._suspended_until_s[key] = now_s + site.suspends_s
            return site.suspends_s
        return wait_s

    def _count(self, site: Site, key: tuple[str, str], now_s: float, weight: int) -> float | None:
        longest_s = max(limit.seconds for limit in site.limits)
        window = self._windows.setdefault(key, deque())
        while window and window[0][0] <= now_s - longest_s:
            window.popleft()
        window.append((now_s, weight))
        wait_s: float | None = None
        for limit in site.limits:
            inside = [(at, each) for at, each in window if at > now_s - limit.seconds]
            used = sum(each for _, each in inside)
            most = self.most.setdefault(site.name, {})
            name = f"{limit.seconds:g}s"
            most[name] = max(most.get(name, 0), used)
            if used > limit.quantity:
                wait_s = max(wait_s or 0.0, inside[0][0] + limit.seconds - now_s)
        return wait_s

    def as_json(self) -> dict[str, Any]:
        return {
            "limits_broken": dict(self.broken),
            "asked_while_suspended": dict(self.in_spite),
            "most_in_window": self.most,
        }
