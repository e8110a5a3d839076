"""The check of the record at the end of a run: documents as they were are what readers got then."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

import orjson

from chaos.checks import GLOBAL_FR
from chaos.deployment import Deployment
from chaos.read_checks import ReadChecks

_RECORDED_S: Final = 30.0
_INTEREST: Final = 7  # the column of open interest
_WHAT: Final = "documents as they were"


async def check_record(deployment: Deployment, checks: ReadChecks) -> None:
    """Asks for versions that readers got during the run, by `as_of`, and compares them. Versions
    that were not recorded one by one are told by another version, and count as left out."""
    report, left_out = deployment.report, 0
    for name, version, served in checks.served():
        if name == GLOBAL_FR:
            continue
        answer = await _as_of(deployment, name, served["updated_at"])
        if answer is None:
            continue
        if answer["version"] != version:
            left_out += 1
            continue
        report.compared[_WHAT] += 1
        for problem in list(differences(answer, served))[:1]:
            report.violate(f"{_WHAT} are as they were", f"{name} {version}: {problem}")
    report.notes.append(f"versions that readers got and the record does not tell: {left_out}")


async def _as_of(deployment: Deployment, name: str, at_ms: int) -> Any:
    """The document as it was; None before the first one that is recorded."""
    address = f"{deployment.apis[0]}/cache/{name}?as_of={at_ms}"
    deadline = time.monotonic() + _RECORDED_S
    while True:
        async with deployment.session.get(address) as answer:
            text = await answer.read()
            if answer.status == 200:
                return orjson.loads(text)
            if answer.status != 503 or time.monotonic() > deadline:
                if answer.status != 404:
                    problem = f"{address}: {answer.status} {text[:200]!r}"
                    deployment.report.violate("the record follows", problem)
                return None
        await asyncio.sleep(0.3)


def differences(found: Any, served: Any) -> Iterator[str]:
    """Where they differ, but for open interest that another document had by then."""
    names = found.keys() | served.keys()
    for name in sorted(names - {"markets", "forming_rows"}):
        if found.get(name) != served.get(name):
            yield f"{name} is {found.get(name)!r}, was {served.get(name)!r}"
    if len(found["markets"]) != len(served["markets"]):
        yield f"{len(found['markets'])} markets, were {len(served['markets'])}"
        return
    for ours, theirs in zip(found["markets"], served["markets"], strict=True):
        market = f"{theirs['exchange']}:{theirs['symbol']}"
        for name in sorted(ours.keys() | theirs.keys()):
            if name != "rows" and ours.get(name) != theirs.get(name):
                yield f"{name} of {market} is {ours.get(name)!r}, was {theirs.get(name)!r}"
        if len(ours["rows"]) != len(theirs["rows"]):
            yield f"{market} has {len(ours['rows'])} rows, had {len(theirs['rows'])}"
            continue
        for row, was in zip(ours["rows"], theirs["rows"], strict=True):
            shown = list(row)
            if was[_INTEREST] is None:
                shown[_INTEREST] = None
            if shown != list(was):
                yield f"a row of {market} is {row}, was {was}"
