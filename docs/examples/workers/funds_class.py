"""The end-of-day crawler of funds.py as a class."""

from pydantic import BaseModel

from perpcache.workers import ScheduleBaseWorker, schedule

from .databases import FundValue, create_tables
from .sources import day_of, fund_rows


class FundSource(BaseModel):
    """Where the values are: FUND_VALUES_WORKER_URL, or a row of the configuration."""

    url: str


@schedule("0 15 * * 1-5", tz="Asia/Ho_Chi_Minh", timeout="5m", attempts=3, config=FundSource)
class FundValuesWorker(ScheduleBaseWorker):
    """Fund values at the end of the day."""

    async def run(self) -> dict[str, int]:
        saved = await self.save(await self.page())
        self.log.info("fund_values_saved", rows=saved)
        return {"rows": saved}

    async def page(self) -> str:
        answer = await self.job.http(impersonate="chrome").get(self.config["url"])
        return answer.raise_for_status().text

    async def save(self, page: str) -> int:
        await create_tables()
        async with self.job.unit_of_work("main") as work:
            saved: int = await work.repository(FundValue).upsert(
                fund_rows(page, day_of(self.job.slot_ms))
            )
        return saved
