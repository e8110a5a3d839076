"""What docs/collectors.md tells of collectors without code: its file, and its requests."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

from database import Database
from live.configured.collector_file import read_collector_file
from live.configured.definition import to_ascii_json
from tests.docs.blocks import claim
from tests.fixtures.api import StartApi

DOCUMENT: Final = "docs/collectors.md"
FILE: Final = claim(DOCUMENT, "[[collector]]")
ASK: Final = claim(DOCUMENT, "curl http://127.0.0.1:8000/api/collectors")
TOKEN: Final = "t0ken"


async def answer_of(line: str, port: int) -> Any:
    """The JSON that the command prints."""
    words = shlex.split(line.replace("$API_TOKEN", TOKEN))
    # The other lines of the block need the token, too, where API_TOKEN is set.
    words[1:1] = ["-sS"] if "API_TOKEN" in line else ["-sS", "-H", f"Authorization: Bearer {TOKEN}"]
    own = [word.replace(":8000", f":{port}") for word in words]
    process = await asyncio.create_subprocess_exec(*own, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(printed)


async def test_the_file_and_the_requests(
    start_api: StartApi, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "collectors.toml"
    path.write_text(FILE.text, encoding="utf-8")
    file = read_collector_file(path)
    database = Database(database_url)
    await database.collectors.take_file("/f", 1, to_ascii_json(file.collectors))
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url, api_token=TOKEN)
    every, add, remove, restart, one = [
        await answer_of(line, api.port) for line in ASK.text.splitlines()
    ]
    assert [each["name"] for each in every["collectors"]] == ["majors"]
    assert add["symbols"] == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    assert remove["symbols"] == ["BTC-USDT", "SOL-USDT"]
    assert restart["restarts"] == 1
    assert one["desired"] == restart


def test_the_paths_of_the_table_are_those_of_the_api() -> None:
    text = (Path(__file__).parents[2] / DOCUMENT).read_text(encoding="utf-8")
    section = text.partition("## Control over HTTP")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(?:GET|POST)[^/]*(/api/collectors\S*)` \|", section, re.MULTILINE)
    name = "/api/collectors/{name}"
    actions = [f"{name}/{action}" for action in ("stop", "start", "restart", "disable", "enable")]
    assert told == ["/api/collectors", name, *actions, f"{name}/symbols/{{symbol}}"]
