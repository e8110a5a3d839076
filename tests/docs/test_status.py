"""What docs/status.md tells to run, and that its JSON is a part of the whole example."""

import asyncio
import re
import shlex
from typing import Any, Final

import orjson

from api.overview.models import Status
from status.problem import ProblemKind
from tests.docs.blocks import ROOT, claim
from tests.fixtures.api import ServedApi

CURL: Final = claim("docs/status.md", "curl -s localhost")
LIFT: Final = claim("docs/status.md", "-X DELETE")
PART: Final = claim("docs/status.md", '"exchanges"')


async def run(command: str, api: ServedApi) -> bytes:
    arguments = [word.replace(":8000", f":{api.port}") for word in shlex.split(command)]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        text, _ = await process.communicate()
    return text


async def test_curl_gets_the_status(native_api: ServedApi) -> None:
    text = await run(CURL.text, native_api)
    assert Status.model_validate_json(text).processes.api == ["api-1"]


async def test_curl_lifts_a_pause(native_api: ServedApi) -> None:
    await native_api.store.execute("SET", "pause:default:binance", "why", "PX", 90_000)
    lifted = orjson.loads(await run(LIFT.text, native_api))
    assert (lifted["exchange"], lifted["lifted"], lifted["cause"]) == ("binance", True, "why")


def test_the_table_has_every_kind_of_problem() -> None:
    text = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", text, re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    assert {str(kind) for kind in ProblemKind} <= told


def test_what_is_shown_is_a_part_of_the_example() -> None:
    examples: Any = Status.model_config["json_schema_extra"]
    (whole,) = examples["examples"]
    assert Status.model_validate(whole, strict=True).model_dump(mode="json") == whole
    check_part(orjson.loads(PART.text), whole)


def check_part(part: Any, whole: Any) -> None:
    if isinstance(part, list):
        assert len(part) == len(whole)
        for one, other in zip(part, whole, strict=True):
            check_part(one, other)
        return
    if not isinstance(part, dict):
        assert part == whole
        return
    for name, value in part.items():
        check_part(value, whole[name])
