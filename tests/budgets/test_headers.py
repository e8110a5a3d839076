"""Header fields of answers: read where they are right, and never a reason to fail."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from budgets.headers import date_ms, exchange_time_ms, number_of, retry_after_s
from budgets.rate_limits import RateLimits, window_left_s
from budgets.refusals import judge
from data_collector.url_builder import listing_request
from market.markets import Exchange
from venues import VENUES
from venues.errors import ExchangeError
from venues.venue import Endpoint

# 2026-07-03 17:08:28 UTC, by `date -u -d @1783098508`.
NOW_MS = 1_783_098_508_000
ODD = [
    "",
    " ",
    "-1",
    "+1",
    "1.5",
    "1e3",
    "0x10",
    "1_000",
    "9" * 16,
    "9" * 5000,  # more digits than int() takes
    "١٢٣",
    "²",
    "12\x00",
    "NaN",
    "inf",
    "1, 2",
]


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_number(text: str) -> None:
    assert number_of({"X": text}, "X") is None


def test_a_number() -> None:
    assert number_of({"X": " 42\t"}, "X") == 42
    assert number_of({"X": "9" * 15}, "X") == 10**15 - 1
    assert number_of({}, "X") is None
    assert number_of({"X": "42"}, None) is None


@pytest.mark.parametrize(
    "text",
    [
        # The three forms of RFC 9110, 5.6.7.
        "Fri, 03 Jul 2026 17:08:28 GMT",
        "Friday, 03-Jul-26 17:08:28 GMT",
        "Fri Jul  3 17:08:28 2026",
    ],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert date_ms({"Date": text}, "Date") == NOW_MS


@pytest.mark.parametrize(
    "text",
    [
        *ODD,
        "Fri, 03 Jul 20260000000000000000 17:08:28 GMT",
        "Fri, 03 Jul 99999999999 17:08:28 GMT",
        "Fri, 03 Jul 9999 17:08:28 GMT",
        "Fri, 03 Jul 0001 17:08:28 GMT",
        "Fri, 33 Jul 2026 17:08:28 GMT",
        "Fri, 03 Jul 2026 17:08:28 +99999999",
        "Fri, ٠٣ Jul 2026 17:08:28 GMT",
        "Fri, 03 Jul 2026 17:08:28 GMT" + " " * 5000,
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert date_ms({"Date": text}, "Date") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 03 Jul 2026 17:09:00 GMT", 32.0),
        ("Fri, 03 Jul 2026 17:08:00 GMT", -28.0),  # it has passed
        ("-7", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": text}, NOW_MS) == seconds


def test_a_retry_after_that_is_a_date_sets_the_pause() -> None:
    headers = CIMultiDict(
        {"Date": "Fri, 03 Jul 2026 17:08:28 GMT", "Retry-After": "Fri, 03 Jul 2026 17:09:00 GMT"}
    )
    request = listing_request(Exchange.BINANCE, Endpoint.TIME)
    error = judge(request, 429, headers, b'{"code":-1003,"msg":"slow"}', NOW_MS)
    assert getattr(error, "until_ms", None) == NOW_MS + 32_000


def test_of_two_fields_the_first_counts() -> None:
    headers = CIMultiDict([("Retry-After", "5"), ("Retry-After", "9" * 5000)])
    assert retry_after_s(headers, NOW_MS) == 5


def test_a_reset_far_away_is_not_believed() -> None:
    """Its window has five seconds; a pause of more than a minute would end the exchange's part."""
    body = b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}'
    headers = {"X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 3 * 86_400_000)}
    request = listing_request(Exchange.BYBIT, Endpoint.TIME)
    error = judge(request, 200, headers, body, NOW_MS)
    assert getattr(error, "until_ms", None) == NOW_MS + 1000


FIELDS = ("Date", "Retry-After", "X-MBX-USED-WEIGHT-1M", "X-Bapi-Limit-Reset-Timestamp")
_texts = st.one_of(
    st.text(max_size=60),
    st.integers(-(10**30), 10**30).map(str),
    st.integers(1, 6000).map(lambda digits: "7" * digits),
    st.sampled_from(ODD),
    st.from_regex(
        r"(Fri, )?[0-9]{1,2} Jul [0-9]{1,20} [0-9]{1,3}:[0-9]{2}:[0-9]{2} [A-Z+0-9-]{1,9}"
    ),
)


@given(
    exchange=st.sampled_from(list(Exchange)),
    status=st.sampled_from([200, 400, 403, 418, 429, 451, 503, 520]),
    fields=st.lists(st.tuples(st.sampled_from(FIELDS), _texts), max_size=6),
)
async def test_no_header_is_ever_an_exception(
    exchange: Exchange, status: int, fields: list[tuple[str, str]]
) -> None:
    headers = CIMultiDict(fields)
    request = listing_request(exchange, Endpoint.TIME)
    error = judge(request, status, headers, b"access too frequent", NOW_MS)
    assert error is None or isinstance(error, ExchangeError)
    # A ban of more than four days is not believed.
    assert abs(getattr(error, "until_ms", NOW_MS) - NOW_MS) <= 4 * 86_400_000
    limit = VENUES[exchange].limits[request.counter]
    left_s = window_left_s(limit, headers)
    assert left_s is None or 0 < left_s <= 61
    clock_ms = exchange_time_ms(headers)
    assert clock_ms is None or 1_400_000_000_000 < clock_ms < 10**13
    limits = RateLimits(0.9).for_exchange(exchange)
    limits.answered(request, await limits.admit(request), headers)
    # Whatever is reported, there is room again after a window.
    budget = limits.budgets[request.counter]
    assert budget.used(time.monotonic() + limit.window_s + 2) == 0


async def test_a_report_far_above_the_limit_is_not_believed() -> None:
    """It would stop all requests for a minute."""
    limits = RateLimits(0.9).for_exchange(Exchange.BINANCE)
    request = listing_request(Exchange.BINANCE, Endpoint.TIME)
    for reported, used in (("2000", 2000), ("999999999", 2001)):
        ticket = await limits.admit(request)
        limits.answered(request, ticket, {"X-MBX-USED-WEIGHT-1M": reported})
        assert limits.used("weight") == used


async def test_an_older_report_does_not_replace_a_newer_one() -> None:
    """Answers may come in another order than their requests were sent in."""
    limits = RateLimits(0.9).for_exchange(Exchange.BINANCE)
    request = listing_request(Exchange.BINANCE, Endpoint.TIME)
    earlier, later = await limits.admit(request), await limits.admit(request)
    limits.answered(request, later, {"X-MBX-USED-WEIGHT-1M": "1500"})
    limits.answered(request, earlier, {"X-MBX-USED-WEIGHT-1M": "700"})
    assert limits.used("weight") == 1500
    newest = await limits.admit(request)
    limits.answered(request, newest, {"X-MBX-USED-WEIGHT-1M": "900"})  # a new minute
    assert limits.used("weight") == 900
