"""Statistics of the requests: counts, weight, broken rate limits, rejected parameters."""

from collections import Counter, deque
from typing import Any, Final, NamedTuple

_LISTED: Final = 500  # rejected requests kept with their query
_REMEMBERED: Final = 20_000  # requests kept with their times


class RequestRecord(NamedTuple):
    """One request; times are seconds of this machine's monotonic clock."""

    exchange: str
    endpoint: str
    symbol: str
    client: str
    status: int  # 0: the connection was cut
    arrived_s: float
    answered_s: float
    fault: str  # the kind of the injected fault, if any
    period: str = ""  # of candles and open interest, as the exchange spells it
    query: str = ""  # as it was sent


class Stats:
    """Counters since the start or the last `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.by_endpoint: Counter[tuple[str, str, int]] = Counter()
        self.by_client: Counter[tuple[str, str]] = Counter()
        self.by_period: Counter[tuple[str, str, str]] = Counter()  # answered with 200
        self.weight_used = 0
        self.most_weight_in_a_minute = 0
        self.most_in_window: Counter[str] = Counter()
        self.limits_broken: Counter[str] = Counter()
        self.requests_while_banned = 0
        self.requests_in_spite_of_ban = 0  # of those: sent after the ban was known
        self.in_spite_of_ban: list[dict[str, Any]] = []  # the first of those
        self.refused: list[dict[str, Any]] = []
        self.refused_count = 0
        self.faults: Counter[str] = Counter()
        self.open_connections_broken = 0
        self.recent_requests: deque[RequestRecord] = deque(maxlen=_REMEMBERED)

    def count(self, record: RequestRecord) -> None:
        """Counts one answered request."""
        self.requests += 1
        self.by_endpoint[record.exchange, record.endpoint, record.status] += 1
        self.by_client[record.exchange, record.client] += 1
        if record.period and record.status == 200:
            self.by_period[record.exchange, record.endpoint, record.period] += 1
        self.recent_requests.append(record)

    def refuse(self, exchange: str, endpoint: str, query: str, answer: str) -> None:
        """Counts one request with wrong parameters."""
        self.refused_count += 1
        if len(self.refused) < _LISTED:
            self.refused.append(
                {"exchange": exchange, "endpoint": endpoint, "query": query, "answer": answer}
            )

    def count_while_banned(self, exchange: str, since_s: float, grace_s: float) -> None:
        """Counts one request `since_s` after a ban began; within the grace it is excused."""
        self.requests_while_banned += 1
        if since_s >= grace_s:
            self.requests_in_spite_of_ban += 1
            if len(self.in_spite_of_ban) < _LISTED:
                self.in_spite_of_ban.append({"exchange": exchange, "since_s": round(since_s, 3)})

    def as_json(self) -> dict[str, Any]:
        requests: dict[str, dict[str, dict[str, int]]] = {}
        for (exchange, endpoint, status), count in sorted(self.by_endpoint.items()):
            requests.setdefault(exchange, {}).setdefault(endpoint, {})[str(status)] = count
        periods: dict[str, dict[str, dict[str, int]]] = {}
        for (exchange, endpoint, period), count in sorted(self.by_period.items()):
            periods.setdefault(exchange, {}).setdefault(endpoint, {})[period] = count
        clients: dict[str, dict[str, int]] = {}
        for (exchange, client), count in sorted(self.by_client.items()):
            clients.setdefault(exchange, {})[client] = count
        funding = sum(
            count
            for (_, endpoint, _), count in self.by_endpoint.items()
            if endpoint in ("funding", "funding_info")
        )
        return {
            "total": self.requests,
            "requests": requests,
            "periods": periods,
            "clients": clients,
            "funding_requests": funding,
            "weight_used": self.weight_used,
            "most_weight_in_a_minute": self.most_weight_in_a_minute,
            "most_in_window": dict(self.most_in_window),
            "limits_broken": dict(self.limits_broken),
            "limits_broken_total": sum(self.limits_broken.values()),
            "requests_while_banned": self.requests_while_banned,
            "requests_in_spite_of_ban": self.requests_in_spite_of_ban,
            "in_spite_of_ban": self.in_spite_of_ban,
            "rejected_total": self.refused_count,
            "rejected": self.refused,
            "faults": dict(self.faults),
        }
