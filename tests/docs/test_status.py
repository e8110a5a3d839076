"""What docs/status.md tells to run, and that its JSON is a part of the whole example."""

import asyncio
import shlex
from typing import Any, Final

import orjson

from api.overview.models import Status
from tests.docs.blocks import claim
from tests.fixtures.api import ServedApi

CURL: Final = claim("docs/status.md", "curl -s")
PART: Final = claim("docs/status.md", '"exchanges"')


async def test_curl_gets_the_status(native_api: ServedApi) -> None:
    arguments = [word.replace(":8000", f":{native_api.port}") for word in shlex.split(CURL.text)]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        text, _ = await process.communicate()
    assert Status.model_validate_json(text).processes.api == ["api-1"]


def test_what_is_shown_is_a_part_of_the_example() -> None:
    examples: Any = Status.model_config["json_schema_extra"]
    (whole,) = examples["examples"]
    assert Status.model_validate(whole, strict=True).model_dump(mode="json") == whole
    check_part(orjson.loads(PART.text), whole)


def check_part(part: Any, whole: Any) -> None:
    if not isinstance(part, dict):
        assert part == whole
        return
    for name, value in part.items():
        check_part(value, whole[name])
