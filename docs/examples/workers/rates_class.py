"""The worker of rates.py as a class, which asks its database by SQL."""

from typing import Any

from pydantic import BaseModel

from perpcache.workers import ScheduleBaseWorker, schedule

from .databases import Rate, Rates, create_tables
from .sources import day_of, rate_rows


class RateSource(BaseModel):
    """Where the rates are."""

    url: str


@schedule("30 8 * * *", tz="Asia/Ho_Chi_Minh", config=RateSource)
class RatesWorker(ScheduleBaseWorker):
    """What a dollar costs, each morning."""

    async def run(self) -> dict[str, Any]:
        answer = await self.job.http().get(self.config["url"])
        rows = rate_rows(answer.raise_for_status().json(), day_of(self.job.slot_ms))
        await create_tables()
        async with self.job.unit_of_work("rates") as work:
            saved = await work.repository(Rate).upsert(rows)
        counted = await Rates.execute_sql("SELECT count(DISTINCT day) AS days FROM rates")
        return {"rows": saved, "days": counted[0]["days"]}
