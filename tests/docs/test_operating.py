"""docs/operating.md: every call of the guide, in its order, against the real service."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

from tests.docs.blocks import CLAIMED, ROOT, Block, blocks
from tests.fixtures.api import ServedApi
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator

DOCUMENT: Final = "docs/operating.md"
TOKEN: Final = "t0ken"
PLUGIN: Final = """
import asyncio

from pydantic import BaseModel, Field, SecretStr

from perpcache.workers import Context, schedule, websocket


class FundConfig(BaseModel):
    url: str
    token: SecretStr = SecretStr("none")
    pages: int = Field(3, ge=1, le=9)


@schedule("0 15 * * 1-5", tz="Asia/Ho_Chi_Minh", queue="funds", config=FundConfig)
async def fund_values(job: Context) -> dict[str, int]:
    job.log.info("saved", rows=12)
    return {"rows": 12}


@websocket(url="wss://prices.example.com/stream")
async def prices(feed: Context) -> None:
    await feed.publish({"symbol": "FPT", "price": 131.2})
    await asyncio.Event().wait()
"""
# What a test cannot know, or what the clock decides.
_NOT_COMPARED: Final = frozenset(("id", "at", "age_s", "host", "next_runs", "ui_collections"))
_NOT_COMPARED_EITHER: Final = frozenset(("errors", "historical_collections", "total_records_saved"))


def calls() -> list[tuple[Block, Block]]:
    """Each request with the answer that is shown after it."""
    found = [block for block in blocks(DOCUMENT) if block.text.startswith(("curl", "{"))]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all((one.language, other.language) == ("sh", "json") for one, other in pairs)
    return pairs


CALLS: Final = calls()
CLAIMED.update(block for pair in CALLS for block in pair)


def differing(shown: Any, answered: Any, key: str = "") -> str | None:
    """Where the answer has not what is shown; lists may have more after it, or before."""
    if key in _NOT_COMPARED | _NOT_COMPARED_EITHER:
        if isinstance(shown, list):
            return None if len(shown) == len(answered) else f"{key}: {answered}"
        return None if type(shown) is type(answered) else f"{key}: {answered!r}"
    if isinstance(shown, dict):
        for name, value in shown.items():
            if not isinstance(answered, dict) or name not in answered:
                return f"{key}: there is no {name} in {answered}"
            if (found := differing(value, answered[name], name)) is not None:
                return found
        return None
    if isinstance(shown, list):
        lacking = [each for each in shown if not any(differing(each, a) is None for a in answered)]
        return f"{key}: {lacking} is not in {answered}" if lacking else None
    return None if shown == answered else f"{key}: {answered!r}, not {shown!r}"


async def asked(service: Service, line: str, ids: dict[str, int]) -> Any:
    for shown, real in ids.items():
        line = line.replace(f"/runs/{shown}", f"/runs/{real}")
    words = shlex.split(line.replace("$API_TOKEN", TOKEN))
    own = [word.replace("http://127.0.0.1:8000", service.address) for word in words]
    process = await asyncio.create_subprocess_exec(
        *(own[0], "-sS", *own[1:]), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(printed)


async def test_every_call_of_the_guide(
    start_service: StartService,
    service_settings: ServiceSettings,
    start_simulator: StartSimulator,
    data_dir: Path,
) -> None:
    (data_dir / "guide_plugin.py").write_text(PLUGIN)
    settings = service_settings(
        start_simulator(binance=3, bybit=3),
        SCHEDULES="on",
        API_TOKEN=TOKEN,
        WORKERS="guide_plugin",
        WORKER_QUEUES="funds",
        FUND_VALUES_URL="https://example.org/funds",
    )
    service = await start_service(**settings)
    await until(lambda: _is_up(service), 60, lambda: "\n".join(service.lines))
    ids: dict[str, int] = {}
    for call, shown in CALLS:
        await check(service, call, json.loads(shown.text), ids)


async def check(service: Service, call: Block, shown: Any, ids: dict[str, int]) -> None:
    """The call answers as it is shown, and `ids` has its id then by the one that is shown."""
    answer: Any = None
    told: str | None = None

    async def is_as_shown() -> bool:
        nonlocal answer, told
        answer = await asked(service, call.text, ids)
        told = differing(shown, answer)
        # A GET may be too early; what changes something is asked once.
        return told is None or " -X " in call.text

    await until(is_as_shown, 60, lambda: f"{told}: {answer}")
    assert told is None, f"{call.document}:{call.line}: {told}: {answer}"
    if isinstance(answer, dict) and "id" in answer:
        ids[str(shown["id"])] = answer["id"]


async def _is_up(service: Service) -> bool:
    """Whether the worker process has stored its workers, and is alive."""
    status, health = await service.answer("/api/worker/health")
    _, workers = await service.answer("/api/workers")
    named = {each["name"] for each in workers.get("workers", ())}
    return bool(status == 200 and health["workers_alive"] and "fund_values" in named)


async def test_the_guide_has_every_route(native_api: ServedApi) -> None:
    """Each method and path of the tag `workers` has its call."""
    async with native_api.http.get("/openapi.json") as answer:
        page = await answer.json()
    served = {
        (method.upper(), path)
        for path, item in page["paths"].items()
        for method, operation in item.items()
        if operation["tags"] == ["workers"]
    }
    told = set()
    for call, _ in CALLS:
        words = shlex.split(call.text)
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        path = words[-1].partition("?")[0].removeprefix("http://127.0.0.1:8000")
        matching = [
            route for of, route in served if of == method and _pattern(route).fullmatch(path)
        ]
        assert matching, call.text
        told |= {(method, min(matching, key=lambda route: route.count("{")))}
    assert served - told == set()


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route)))


def test_the_commands_are_told() -> None:
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    for action in ("workers list", "run NAME", "pause NAME", "resume NAME", "logs [NAME]"):
        assert f"`{action}" in text or f"main.py {action}" in text
