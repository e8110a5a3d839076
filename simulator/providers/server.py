"""Answers `/<host><path>` as the provider at that host does: limits, faults, answer, log."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web

from simulator.answers import Answer, dump, error_page
from simulator.parameters import read
from simulator.providers import damaged
from simulator.providers.asked import TRUTH, Asked, Lies, View
from simulator.providers.control import ProviderControl
from simulator.providers.dialects import PLAIN
from simulator.providers.echo import echo_of, with_echo
from simulator.providers.fault_kinds import ERRORS
from simulator.providers.faults import Rule, together
from simulator.providers.log import ProviderRequest
from simulator.providers.parts import Parts
from simulator.providers.sites import Route, Site

_MOST_BODY: Final = 1_000_000
_CONTROL: Final = "/sim/providers"


class Cut(Exception):
    """The connection is to be closed without an answer."""


class Providers:
    """The simulated providers' HTTP server; control routes are under /sim/providers."""

    def __init__(self, sites: Sequence[Site], parts: Parts) -> None:
        self._by_host = {host: site for site in sites for host in site.hosts}
        self._parts = parts
        self._control = ProviderControl(sites, parts, self.view)

    def serves(self, path: str) -> bool:
        """Whether the path begins with a provider's host, or is of the control."""
        return path.startswith(_CONTROL) or "." in path[1:].partition("/")[0]

    def view(self, host: str, lies: Lies = TRUTH) -> View:
        """The world as a provider tells it at this instant."""
        parts = self._parts
        return View(parts.seed, host, parts.clock.now_ms(), parts.prices, lies)

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """`path` and `query` as they came."""
        body = await request.content.read(_MOST_BODY)
        while not request.content.at_eof() and len(body) < _MOST_BODY:
            body += await request.content.read(_MOST_BODY - len(body))
        if path.startswith(_CONTROL):
            rest = path.removeprefix(_CONTROL)
            answer = self._control.answer(request.method, rest, read(query), body)
            return web.Response(
                status=answer.status, body=answer.body, content_type=answer.content_type
            )
        host, _, rest = path[1:].partition("/")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(
            method=request.method, host=unquote(host).lower(), path="/" + unquote(rest),
            query=read(query), headers=headers, body=body, view=self.view(host),
        )  # fmt: skip
        client = headers.get("x-sim-client") or request.remote or "unknown"
        return await self._serve(request, asked, client, query)

    async def _serve(
        self, request: web.BaseRequest, asked: Asked, client: str, query: str
    ) -> web.StreamResponse:
        parts = self._parts
        site = self._by_host.get(asked.host)
        began_s, at_s = time.monotonic(), parts.clock.elapsed_s()
        told: list[str] = []
        refused = False
        answer: Answer | None = None
        try:
            await self._sleep(parts.latency_s)
            if site is None:
                answer = self._nobody(asked)
            else:
                wait_s = parts.limits.refuses(
                    site, f"{client} {site.key_of(asked)}", site.weigh(asked)
                )
                refused = wait_s is not None
                answer = (
                    await self._answer(site, asked, told)
                    if wait_s is None
                    else _refusal(site, wait_s, asked)
                )
        except Cut:
            pass
        parts.log.add(
            ProviderRequest(
                number=parts.log.count + 1, at_s=at_s, now_ms=asked.view.true_now_ms,
                took_s=time.monotonic() - began_s, client=client,
                site=site.name if site else "", host=asked.host, method=asked.method,
                path=asked.path, query=query, rpc=_methods(asked),
                status=answer.status if answer else 0, faults=tuple(told), refused=refused,
            )
        )  # fmt: skip
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # never sent
        date = formatdate(asked.view.true_now_ms / 1000, usegmt=True)
        headers = {"Content-Type": answer.content_type, "Date": date, **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    def _nobody(self, asked: Asked) -> Answer:
        """The answer of a host that is not simulated: what was recorded of it, if anything."""
        recorded = self._parts.recorded.find(asked) if self._parts.recorded else None
        if recorded is not None:
            return recorded
        self._parts.log.unknown[f"{asked.host}/"] += 1
        return Answer(404, dump({"detail": f"no simulated provider at {asked.host}"}))

    async def _answer(self, site: Site, asked: Asked, told: list[str]) -> Answer:
        """The answer of a site; `told` gets the classes of the faults that hit it."""
        now_s = self._parts.clock.elapsed_s()
        rule, lies = self._parts.faults.pick(asked.host, asked.path, now_s)
        told += [each.kind for each in ([rule] if rule else []) + lies]
        kind = rule.drawn_kind() if rule else ""
        if rule is not None and (broken := await self._broken(site, asked, rule, kind)) is not None:
            echo = rule.settings.get("echo")
            return broken if echo is None else with_echo(broken, echo_of(asked, echo))
        if lies:
            asked = replace(asked, view=self.view(asked.host, together(lies)))
        answer = self._usual(site, asked)
        if rule is not None and kind == "bad_payload":
            if "echo" in rule.settings:
                return damaged.telling(answer, echo_of(asked, rule.settings["echo"]))
            return damaged.impossible(answer, str(rule.settings.get("variant", "types")))
        damage = damaged.DAMAGING.get(kind)
        return answer if damage is None else damage(answer)

    async def _broken(self, site: Site, asked: Asked, rule: Rule, kind: str) -> Answer | None:
        """The answer that a fault gives instead, None where it changes the usual one."""
        if kind == "hang":
            await self._sleep(rule.number_of("seconds_each", 60))
        if kind in ("reset", "hang"):
            raise Cut(kind)
        if kind == "slow":
            await self._sleep(rule.number_of("seconds_each", 5))
        if kind in ERRORS:
            answer = _error(site, kind, asked)
            if "retry_after" in rule.settings:
                answer.headers["Retry-After"] = str(int(rule.number_of("retry_after", 0)))
            return answer
        if kind == "status" or kind.isdecimal():
            return error_page(int(rule.settings["status"] if kind == "status" else kind))
        if kind == "recorded":
            return self._recorded(str(rule.settings["file"]))
        return None

    def _recorded(self, file: str) -> Answer:
        found = self._parts.recorded.by_file(file) if self._parts.recorded else None
        return found or error_page(500, f"no recorded file {file[:60]}")

    def _usual(self, site: Site, asked: Asked) -> Answer:
        if self._parts.recorded is not None:
            recorded = self._parts.recorded.find(asked)
            if recorded is not None:
                return recorded
        route, words = _route(site, asked)
        if route is None:
            self._parts.log.unknown[f"{asked.method} {asked.host}{asked.path}"] += 1
            return error_page(404)
        if not site.keyless and not site.key_of(asked):
            return site.error("no_key", asked) or _error(site, "key_rejected", asked)
        return route.answer(replace(asked, words=words))

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(self._parts.clock.real_s(seconds))


def _route(site: Site, asked: Asked) -> tuple[Route | None, Mapping[str, str]]:
    for route in site.routes:
        if route.method == asked.method and (match := route.pattern.fullmatch(asked.path)):
            return route, match.groupdict()
    return None, {}


def _error(site: Site, kind: str, asked: Asked) -> Answer:
    return site.error(kind, asked) or PLAIN[kind].answer()


def _refusal(site: Site, wait_s: float, asked: Asked) -> Answer:
    answer = _error(site, "rate_limited", asked)
    if answer.status == 429:
        answer.headers["Retry-After"] = str(max(1, -int(-wait_s // 1)))
    return answer


def _methods(asked: Asked) -> tuple[str, ...]:
    """The methods of a JSON-RPC request."""
    if asked.method != "POST":
        return ()
    value: Any = asked.json()
    calls = value if isinstance(value, list) else [value]
    return tuple(
        str(call["method"]) for call in calls if isinstance(call, dict) and "method" in call
    )
