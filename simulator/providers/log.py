"""What the simulated providers were asked: the last requests, and counts of all of them."""

from collections import Counter, deque
from typing import Any, Final, NamedTuple

_REMEMBERED: Final = 50_000


class ProviderRequest(NamedTuple):
    """One request. `at_s`: seconds that had passed for the exchanges (they run faster at a higher
    speed); `status` 0: the connection was cut; `rpc`: the methods of JSON-RPC; `faults`: the
    classes that hit it; `refused`: it was one too many."""

    number: int
    at_s: float
    now_ms: int
    took_s: float
    client: str
    site: str
    host: str
    method: str
    path: str
    query: str
    rpc: tuple[str, ...]
    status: int
    faults: tuple[str, ...]
    refused: bool


class RequestLog:
    """The requests since the start or the last `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._recent: deque[ProviderRequest] = deque(maxlen=_REMEMBERED)
        self._by_host: Counter[str] = Counter()
        self._by_status: Counter[tuple[str, int]] = Counter()
        self._faults: Counter[str] = Counter()
        self.count = 0
        self.unknown: Counter[str] = Counter()  # paths that the simulator does not have

    def add(self, request: ProviderRequest) -> None:
        self._recent.append(request)
        self._by_host[request.host] += 1
        self._by_status[request.host, request.status] += 1
        self._faults.update(request.faults)
        self.count += 1

    def as_json(self, host: str | None, after: int) -> dict[str, Any]:
        """Requests with a greater number than `after`, of one host or all, and the counts."""
        found = [r for r in self._recent if r.number > after and host in (None, r.host)]
        statuses: dict[str, dict[str, int]] = {}
        for (name, status), count in sorted(self._by_status.items()):
            statuses.setdefault(name, {})[str(status)] = count
        return {
            "total": self.count,
            "by_host": dict(self._by_host),
            "statuses": statuses,
            "faults": dict(self._faults),
            "unknown": dict(self.unknown),
            "requests": [request._asdict() for request in found],
        }
