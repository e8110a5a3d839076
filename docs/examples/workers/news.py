"""An hourly news crawler: a plain function, which runs in a thread."""

import json

from pydantic import BaseModel

from perpcache.workers import Context, schedule

from .sources import headlines


class NewsSource(BaseModel):
    """Where the news are, and how many headlines are kept."""

    url: str
    keep: int = 20


@schedule(every="1h", offset="5m", config=NewsSource, on_missed="skip")
def news(job: Context) -> dict[str, int]:
    """Headlines of the last hours, in the key `news:headlines`."""
    answer = job.wait(job.http().get(job.config["url"])).raise_for_status()
    found = headlines(answer.json())[: job.config["keep"]]
    job.wait(job.redis.execute("SET", "news:headlines", json.dumps(found), "EX", 7200))
    job.log.info("headlines_saved", rows=len(found))
    return {"rows": len(found)}
