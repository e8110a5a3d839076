"""What the view Market is made of, asked in the browser: exact numbers, and gaps that stay gaps."""

import random
from decimal import Decimal
from typing import Final

from tests.dashboard.conftest import OpenPage
from tests.fixtures.service import Service

_IMPORTED: Final = "import(`${location.pathname}views/market/%s.js`)"
# Documented prices and the corners of what a double prints.
_PRINTED: Final = (0.00001234, 1e-7, 7.62e-07, 123456789.125, 0.1 + 0.2, 1e21, 5e-324, 75677.5, 0.0)


async def test_numbers_have_all_their_digits(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/markets")
    chance = random.Random(7)  # noqa: S311 - the same numbers each time
    values = [
        *_PRINTED,
        *(
            chance.choice((-1, 1)) * chance.random() * 10.0 ** chance.randint(-12, 15)
            for _ in range(500)
        ),
    ]
    plain, exact, percent = await page.page.evaluate(
        f"async values => {{ const made = await {_IMPORTED % 'numbers'};"
        " return [made.plain, value => made.exact(value), value => made.exactPercent(value)]"
        "   .map(print => values.map(print)); }",
        values,
    )
    for value, printed, grouped, rate in zip(values, plain, exact, percent, strict=True):
        told = Decimal(repr(value))
        assert Decimal(printed) == told and "e" not in printed, value
        minus = grouped.replace("\N{MINUS SIGN}", "-")
        assert Decimal(minus.replace(",", "")) == told
        whole = minus.partition(".")[0]
        assert whole == f"{int(whole.replace(',', '')):,}" or int(told) == 0, value
        assert Decimal(rate.replace("\N{MINUS SIGN}", "-").removesuffix("%")) == told * 100


async def test_what_is_not_known_is_a_gap(demo_page: OpenPage, demo_service: Service) -> None:
    page = await demo_page("#/markets")
    row = {"open": 1, "high": 2, "low": 1, "close": 2, "volume": 3}
    known = {**row, "open_interest": 5, "funding_rate": -0.001}
    unknown = {**row, "open_interest": None, "funding_rate": None}
    # Four instants of a minute; the third has no candle at all.
    rows = [
        {"open_time": 60_000 * at, **values}
        for at, values in ((1, known), (2, unknown), (4, known))
    ]
    series = await page.page.evaluate(
        f"""async rows => {{
          const [{{ gridOf, holesIn }}, {{ seriesData }}] = await Promise.all(
            [{_IMPORTED % "series"}, {_IMPORTED % "drawn"}]);
          const grid = gridOf([rows], 60000);
          const colors = {{ up: "up", down: "down", accent: "accent" }};
          return {{ ...seriesData(rows, grid, colors), holes: holesIn(rows, 60000) }};
        }}""",
        rows,
    )
    assert series["holes"] == 1
    for name in ("candles", "volume"):
        assert series[name][2] == {"time": 180}
        assert [len(point) > 1 for point in series[name]] == [True, True, False, True]
    for name in ("interest", "funding"):
        assert series[name][1:3] == [{"time": 120}, {"time": 180}], name
        assert series[name][0]["value"] in (5, -0.001) and series[name][3]["time"] == 240
    # No line leads over the gap; the points beside it are seen by themselves.
    assert series["interest"][0]["color"] == "rgba(0, 0, 0, 0)"
    assert series["alone"] == [60, 240]
    assert series["funding"][0]["color"] == "down"
