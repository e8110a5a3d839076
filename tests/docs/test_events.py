"""What docs/events.md tells to run, run against the real API."""

import asyncio
import shlex
import sys
from typing import Final

from documents.names import GLOBAL_FR
from tests.docs.blocks import ROOT, claim
from tests.fixtures.api import ServedApi

CURL: Final = claim("docs/events.md", "curl -N")
FOLLOW: Final = ROOT / "docs" / "examples" / "follow_events.py"
WITHIN_S: Final = 30.0


async def first_line(words: str, *command: str) -> str:
    """The first line with these words that the command prints, while documents are published."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended without {words!r}"
                if words in line:
                    return line
    finally:
        process.kill()
        await process.wait()


async def publish_often(api: ServedApi) -> None:
    """A listener joins at some time: it is told of all that come later."""
    for version in range(1, 10_000):
        await api.publish(GLOBAL_FR, b"{}", version)
        await asyncio.sleep(0)


async def test_curl_opens_the_stream(native_api: ServedApi) -> None:
    command, *rest = shlex.split(CURL.text)
    arguments = [word.replace(":8000", f":{native_api.port}") for word in rest]
    line = await first_line("retry", command, "-s", *arguments)
    assert int(line.partition(":")[2]) > 0


async def test_the_example_follows_the_events(native_api: ServedApi) -> None:
    url = f"http://127.0.0.1:{native_api.port}/events?event=document"
    publishing = asyncio.create_task(publish_often(native_api))
    try:
        line = await first_line("document", sys.executable, str(FOLLOW), url)
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    assert f"'name': '{GLOBAL_FR}'" in line
