"""Workers of the demo that the tests of the page rule. None fires by itself.

What they say is what a hostile source may make them say.
"""

import asyncio
import json

from pydantic import BaseModel, Field, SecretStr

from perpcache.workers import Context, schedule, websocket

HOSTILE = "<img src=x onerror=document.title='owned'>"


class Pages(BaseModel):
    url: str = "https://news.example.com"
    pages: int = Field(3, ge=1, le=9)
    token: SecretStr = SecretStr("keep-me-unseen")


@schedule(config=Pages, attempts=1)
async def crawl(job: Context) -> dict[str, object]:
    """Crawls "pages" of <b>one</b> source."""
    job.log.info(HOSTILE, pages=job.config["pages"], said='it\'s "so"')
    return {"rows": 12, "note": HOSTILE}


@schedule(attempts=1)
async def refused(job: Context) -> None:
    """Fails."""
    raise RuntimeError(f"the source said {HOSTILE}")


@schedule(attempts=1)
async def lines(job: Context) -> None:
    """Logs a line every fifth of a second until it is aborted."""
    for number in range(3000):
        job.log.info("line", number=number)
        await asyncio.sleep(0.2)


# MARKS_URL names a simulated exchange.
@websocket(
    url="ws://127.0.0.1:1",
    subscribe={"method": "SUBSCRIBE", "params": ["btcusdt@markPrice@1s"], "id": 1},
)
def marks(feed: Context, message: str) -> dict[str, str] | None:
    """Follows the mark price of BTCUSDT."""
    told = json.loads(message)
    return {"mark": told["p"]} if "p" in told else None
