"""Checks of all documents that readers get: against the true data, and against earlier readings."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from chaos.checks import (
    GLOBAL_FR,
    HOUR_MS,
    INTERVALS_MS,
    M5_MS,
    Facts,
    Findings,
    KnownFunding,
    check_candles,
    check_funding_document,
    lags,
)
from chaos.deployment import CANDLES, Deployment
from chaos.job_requests import JobRuns
from chaos.listed_markets import ListedMarkets
from chaos.truth import MarketTruth

_KEPT: Final = 3  # versions of each document kept to check filtered answers
_LATE_STAMP_MS: Final = 1_000  # the time of a settlement is at most this late after its hour
_KEPT_TO_END: Final = 8  # versions of each document, one in eight of those that were read
_MOST_PROBLEMS: Final = 4  # reported for one version


class ReadChecks:
    """`document` checks what a reader got; `settled` checks more strictly, without faults."""

    def __init__(
        self, deployment: Deployment, listed: ListedMarkets, truth: MarketTruth, runs: JobRuns
    ) -> None:
        self._deployment = deployment
        self._report = deployment.report
        self._listed = listed
        self._truth = truth
        self._runs = runs
        self._digests: dict[tuple[str, int], bytes] = {}
        self._recent: dict[str, OrderedDict[int, Any]] = {}
        self._served: dict[str, dict[int, Any]] = {}
        # Funding documents as read: (wall clock ms, (checked_at, hours, times) by market).
        self._funding_read: list[tuple[float, Mapping[str, tuple[int, int, Sequence[int]]]]] = []

    def recent(self, name: str, version: int | None) -> Any:
        """A recently read version, or None."""
        kept = self._recent.get(name)
        return None if kept is None or version is None else kept.get(version)

    def served(self) -> list[tuple[str, int, Any]]:
        """Some of the versions that readers got, from all of the run: name, version, document."""
        return [(name, *each) for name, found in self._served.items() for each in found.items()]

    def markets(self, name: str) -> list[str]:
        """The symbols of the version read last."""
        kept = self._recent.get(name)
        if not kept:
            return []
        return [market["symbol"] for market in next(reversed(kept.values()))["markets"]]

    async def document(self, name: str, text: bytes, version: int | None) -> Any:
        """Checks a document; returns it parsed, or None if invalid. `version`: of its ETag."""
        seen_ms = time.time() * 1000
        try:
            document = orjson.loads(text)
            own_version = document["version"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            self._report.violate("valid JSON", f"{name}: {error}")
            return None
        if own_version != version:
            self._report.violate(
                "document and ETag have one version", f"{name}: {own_version}, ETag {version}"
            )
        digest = hashlib.sha256(text).digest()
        known = self._digests.setdefault((name, own_version), digest)
        if known is not digest:
            self._report.compared["readings equal to the first"] += 1
            if known != digest:
                self._report.violate("a version never changes", f"{name} {own_version}")
            return document
        served = self._served.setdefault(name, {})
        if digest[0] < 32 and len(served) < _KEPT_TO_END:
            served[own_version] = document
        await self._check(name, document, seen_ms)
        return document

    def up_to_date(self, name: str, document: Any, asked_ms: float) -> None:
        """Checks a document read from the store since `asked_ms` against the last complete
        collection of all timeframes before."""
        as_of_ms = self._runs.collected_all(asked_ms)
        if as_of_ms is None or name == GLOBAL_FR:
            return
        self._report.compared["as_of with a collection of all"] += 1
        if problem := lags(name, document["as_of"], as_of_ms):
            self._report.violate("a collection of all leaves no document behind", problem)

    async def settled(self, name: str, document: Any) -> None:
        """Checks a document collected without faults: nothing may be missing or left over."""
        await self._check(name, document, time.time() * 1000, settled=True)
        present = {f"{market['exchange']}:{market['symbol']}" for market in document["markets"]}
        if extra := present - self._listed.collected:
            self._report.violate("delisted markets are removed", f"{name}: {sorted(extra)}")

    async def _check(
        self, name: str, document: Any, seen_ms: float, *, settled: bool = False
    ) -> None:
        required = self._listed.collected if settled else self._listed.steady
        if name == GLOBAL_FR:
            findings = await self._check_funding(document, required, seen_ms, settled)
        else:
            findings = await self._check_candles(name, document, required, settled)
        self._keep(name, document)
        self._report.checked[f"{name}, settled" if settled else name] += 1
        self._report.compared += findings.compared
        for problem in findings.problems[:_MOST_PROBLEMS]:
            self._report.violate(
                "a document equals the true data",
                f"{name} version {document['version']} as of {document['as_of']}: {problem}",
            )

    async def _check_candles(
        self, name: str, document: Any, required: set[str], settled: bool
    ) -> Findings:
        as_of_ms, written_ms = document["as_of"], document["updated_at"]
        clock, until_s = self._deployment.clock, written_ms / 1000 + 1
        if not clock.was_shown(as_of_ms, until_s):
            self._report.violate("as_of is a time of the exchanges", f"{name}: {as_of_ms}")
        moments = clock.moments(as_of_ms, until_s)
        checked = {market["checked_at"] for market in document["markets"]} | {as_of_ms}
        if clock.flows:
            asked = [self._truth.flowing_at(name, at_ms, moments[-1]) for at_ms in checked]
        else:
            asked = [
                self._truth.candles_at(name, at_ms, self._states(name, at_ms, as_of_ms, moments))
                for at_ms in checked
            ]
        truths = await asyncio.gather(*asked)
        shown_ms = clock.shown_s(as_of_ms) * 1000
        began_ms = self._runs.began_before(name, written_ms, shown_ms)
        facts = Facts(
            CANDLES,
            dict(zip(checked, truths, strict=True)),
            moments,
            self._funding_at(began_ms, max([as_of_ms, *moments])),
            required,
            settled,
            self._truth.corrected,
        )
        return check_candles(name, document, facts)

    def _states(
        self, name: str, at_ms: int, as_of_ms: int, moments: Sequence[int]
    ) -> Sequence[int]:
        """The times when the newest row may have been fetched: by this collection or, if carried
        over while the same candle is open, by an earlier one. One that is made of 5m candles shows
        none that begins after the collection's time."""
        end_ms = at_ms - at_ms % M5_MS + M5_MS
        if at_ms == as_of_ms:
            return _with_end(moments, end_ms)
        interval_ms = INTERVALS_MS[name]
        if at_ms // interval_ms != as_of_ms // interval_ms:
            return ()  # that row is not carried over
        times = [ms for ms, _ in self._deployment.clock.instants if at_ms <= ms <= as_of_ms]
        if at_ms // M5_MS == as_of_ms // M5_MS:  # a base that was fresh still
            times += (ms for ms in moments if ms > as_of_ms)
        return _with_end(times, end_ms)

    def _funding_at(self, began_ms: float, until_ms: int) -> dict[str, KnownFunding] | None:
        """The funding that a run which began at `began_ms` knew at least, and has not lost until
        `until_ms`. A run that asks the exchanges for nothing may use funding of a later time."""
        known = [book for seen_ms, book in self._funding_read if seen_ms <= began_ms]
        if not known:
            return None
        found = {}
        for key, (checked_at, hours, times) in known[-1].items():
            # Newer settlements may have replaced the oldest ones.
            newer = 1 + max(0, until_ms - checked_at) // (hours * HOUR_MS)
            first_ms = until_ms
            if times:
                beyond = max(0, newer - len(times) + 1)  # all of these, and some that came since
                first_ms = times[min(newer, len(times) - 1)] + beyond * hours * HOUR_MS
            found[key] = KnownFunding(checked_at, hours, first_ms)
        return found

    async def _check_funding(
        self, document: Any, required: set[str], seen_ms: float, settled: bool
    ) -> Findings:
        settlements: dict[int, Mapping[str, Sequence[Any]]] = {}
        for at_ms in {market["checked_at"] for market in document["markets"]}:
            hour_ms = at_ms - at_ms % HOUR_MS
            late_ms = hour_ms + _LATE_STAMP_MS
            settlements[at_ms] = await self._truth.settlements_at(min(at_ms, late_ms))
        findings = check_funding_document(document, settlements, required=required, settled=settled)
        book = {
            f"{market['exchange']}:{market['symbol']}": (
                market["checked_at"],
                market["interval_hours"],
                [row[0] for row in market["rows"]],
            )
            for market in document["markets"]
        }
        self._funding_read.append((seen_ms, book))
        return findings

    def _keep(self, name: str, document: Any) -> None:
        kept = self._recent.setdefault(name, OrderedDict())
        kept[document["version"]] = document
        while len(kept) > _KEPT:
            kept.popitem(last=False)


def _with_end(moments: Sequence[int], end_ms: int) -> list[int]:
    """The moments, and the end of a 5m candle if it is before the last of them."""
    return [*moments, end_ms] if moments and end_ms < moments[-1] else [*moments]
