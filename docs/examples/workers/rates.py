"""A worker with a database of its own: exchange rates, in a file of SQLite."""

from typing import Any

from pydantic import BaseModel

from perpcache.workers import Context, schedule

from .databases import RateRepository, create_tables
from .sources import day_of, rate_rows


class RateSource(BaseModel):
    """Where the rates are."""

    url: str


@schedule("30 8 * * *", tz="Asia/Ho_Chi_Minh", config=RateSource)
async def rates(job: Context) -> dict[str, Any]:
    """What a dollar costs, each morning."""
    answer = await job.http().get(job.config["url"])
    rows = rate_rows(answer.raise_for_status().json(), day_of(job.slot_ms))
    await create_tables()
    async with job.unit_of_work("rates") as work:
        repository = work.repository(RateRepository)
        saved = await repository.upsert(rows)
        days = await repository.days()
    return {"rows": saved, "days": days}
