"""The hourly news crawler of news.py as a class; its `run` is a plain `def`, too."""

import json

from pydantic import BaseModel

from perpcache.workers import ScheduleBaseWorker, schedule

from .sources import headlines


class NewsSource(BaseModel):
    """Where the news are, and how many headlines are kept."""

    url: str
    keep: int = 20


@schedule(every="1h", offset="5m", config=NewsSource, on_missed="skip")
class NewsWorker(ScheduleBaseWorker):
    """Headlines of the last hours, in the key `news:headlines`."""

    def run(self) -> dict[str, int]:
        job = self.job
        answer = job.wait(job.http().get(self.config["url"])).raise_for_status()
        found = headlines(answer.json())[: self.config["keep"]]
        job.wait(self.redis.execute("SET", "news:headlines", json.dumps(found), "EX", 7200))
        self.log.info("headlines_saved", rows=len(found))
        return {"rows": len(found)}
