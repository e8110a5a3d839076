"""The control routes under /sim/providers: faults, requests, limits, and what is true."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from simulator.answers import Answer, dump
from simulator.faults import InvalidRule
from simulator.parameters import whole_number
from simulator.providers.asked import View, listed
from simulator.providers.fault_kinds import KINDS
from simulator.providers.parts import Parts
from simulator.providers.sites import Site
from simulator.providers.truth import chain_truth, whales

Query = Mapping[str, str]


class ProviderControl:
    """Answers control requests; they count against nothing."""

    def __init__(self, sites: Sequence[Site], parts: Parts, view: Callable[[str], View]) -> None:
        self._sites = sites
        self._parts = parts
        self._view = view
        self._routes: dict[tuple[str, str], Callable[[Query, Any], Any]] = {
            ("GET", ""): self._overview,
            ("GET", "/faults"): lambda query, body: self._parts.faults.as_json(),
            ("POST", "/faults"): self._add_faults,
            ("DELETE", "/faults"): self._clear_faults,
            ("GET", "/requests"): self._requests,
            ("DELETE", "/requests"): self._forget,
            ("GET", "/truth"): self._truth,
            ("GET", "/truth/chain"): self._chain,
            ("GET", "/truth/whales"): self._whales,
        }

    def answer(self, method: str, path: str, query: Query, body: bytes) -> Answer:
        """Answers one request; `detail` of a 400 or 404 says what is wrong."""
        route = self._routes.get((method, path))
        if route is None:
            return Answer(404, dump({"detail": f"no {method} /sim/providers{path}"}))
        try:
            return Answer(200, dump(route(query, orjson.loads(body or b"null"))))
        except (InvalidRule, ValueError) as error:
            return Answer(400, dump({"detail": str(error)}))

    def _overview(self, query: Query, body: Any) -> Any:
        return {
            "sites": [
                {
                    "name": site.name,
                    "hosts": site.hosts,
                    "needs_key": not site.keyless,
                    "limits": [limit._asdict() for limit in site.limits],
                }
                for site in self._sites
            ],
            "classes": KINDS,
        }

    def _add_faults(self, query: Query, body: Any) -> Any:
        return self._parts.faults.add(body, self._parts.clock.elapsed_s())

    def _clear_faults(self, query: Query, body: Any) -> Any:
        self._parts.faults.clear(_number(query, "number"))
        return self._parts.faults.as_json()

    def _requests(self, query: Query, body: Any) -> Any:
        told = self._parts.log.as_json(query.get("host"), _number(query, "after") or 0)
        return {**told, **self._parts.limits.as_json()}

    def _forget(self, query: Query, body: Any) -> Any:
        """Forgets the requests, and empties the windows of the limits."""
        self._parts.log.reset()
        self._parts.limits.reset()
        return {}

    def _chain(self, query: Query, body: Any) -> Any:
        """The true head and fees of a chain, and what `address` holds."""
        view = self._view("")
        name = query.get("chain", "ethereum")
        told = chain_truth(view, name, query.get("address", ""))
        return {"now_ms": view.now_ms, "chain": name, **told}

    def _whales(self, query: Query, body: Any) -> Any:
        """The true transfers of a chain from block to block, worth `min_usd` and more."""
        first, last = _number(query, "first") or 0, _number(query, "last") or 0
        least = float(_number(query, "min_usd") or 1_000_000)
        name = query.get("chain", "ethereum")
        return {"transfers": list(whales(self._view(""), name, first, last, least))}

    def _truth(self, query: Query, body: Any) -> Any:
        """The true prices in US dollars, at this instant."""
        now_ms = self._parts.clock.now_ms()
        symbols = listed(query.get("assets", "btc,eth"))
        prices = {name: self._parts.prices.now_usd(name.upper(), now_ms) for name in symbols}
        return {"now_ms": now_ms, "elapsed_s": self._parts.clock.elapsed_s(), "prices": prices}


def _number(query: Query, name: str) -> int | None:
    if name not in query:
        return None
    number = whole_number(query[name])
    if number is None:
        raise ValueError(f"{name} must be a whole number")
    return number
