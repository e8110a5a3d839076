"""An end-of-day crawler: fund values, each weekday at 15:00 in Ho Chi Minh City."""

from pydantic import BaseModel

from perpcache.workers import Context, schedule

from .databases import FundValue, create_tables
from .sources import day_of, fund_rows


class FundSource(BaseModel):
    """Where the values are: FUND_VALUES_URL, or a row of the configuration."""

    url: str


@schedule("0 15 * * 1-5", tz="Asia/Ho_Chi_Minh", timeout="5m", attempts=3, config=FundSource)
async def fund_values(job: Context) -> dict[str, int]:
    """Fund values at the end of the day."""
    page = await job.http(impersonate="chrome").get(job.config["url"])
    rows = fund_rows(page.raise_for_status().text, day_of(job.slot_ms))
    await create_tables()
    async with job.unit_of_work("main") as work:
        saved = await work.repository(FundValue).upsert(rows)
    job.log.info("fund_values_saved", rows=saved)
    return {"rows": saved}
