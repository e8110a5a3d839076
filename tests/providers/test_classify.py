"""The class of an answer decides what happens next: by rules, by what is said, by the status."""

from typing import Any

import pytest
from multidict import CIMultiDict

from providers.classify import classify, end_of
from providers.errors import ErrorClass as Class
from providers.errors import ProviderError
from providers.resources import ErrorRule
from tests.providers.making import NOW_MS, provider, resource

DAY_MS = 86_400_000
HTML = "<!DOCTYPE html><html><title>Just a moment...</title></html>"


def classified(
    status: int,
    body: str = "{}",
    headers: dict[str, str] | None = None,
    chain: str = "price.aggregate",
    **fields: Any,
) -> ProviderError | None:
    row = resource(chain, **fields)
    return classify(row, status, CIMultiDict(headers or {}), body.encode(), NOW_MS)


def class_of(status: int, body: str = "{}", **more: Any) -> Class | None:
    error = classified(status, body, **more)
    return None if error is None else error.error_class


@pytest.mark.parametrize(
    ("status", "due"),
    [
        (200, None), (304, None), (301, Class.BAD_PAYLOAD), (400, Class.BAD_PAYLOAD),
        (401, Class.KEY_REJECTED), (402, Class.QUOTA_SPENT), (403, Class.PLAN_FORBIDS),
        (404, Class.UNKNOWN), (408, Class.TRANSIENT), (418, Class.RATE_LIMITED),
        (422, Class.BAD_PAYLOAD), (425, Class.TRANSIENT), (429, Class.RATE_LIMITED),
        (451, Class.GEO_BLOCKED), (500, Class.TRANSIENT), (503, Class.TRANSIENT),
        (521, Class.TRANSIENT),
    ],
)  # fmt: skip
def test_by_status(status: int, due: Class | None) -> None:
    assert class_of(status) is due


def test_a_bad_request_is_the_callers_where_it_has_the_callers_words() -> None:
    assert class_of(400, "Invalid Bitcoin address", chain="balance.bitcoin") is Class.CALLER_FAULT
    assert class_of(404, "", chain="gas.bitcoin") is Class.BAD_PAYLOAD


@pytest.mark.parametrize(
    ("status", "body", "due"),
    [
        (200, HTML, Class.TRANSIENT),
        (200, "", Class.TRANSIENT),
        (403, HTML, Class.GEO_BLOCKED),
        (503, HTML, Class.TRANSIENT),
        (429, '{"error":"You\'ve exceeded the monthly call limit."}', Class.QUOTA_SPENT),
        (403, '{"error":"The key exceeds the frequency limit(15)"}', Class.RATE_LIMITED),
        (200, '{"data":null,"errors":[{"message":"Points limit exceeded"}]}', Class.QUOTA_SPENT),
        (200, '{"errors":[{"message":"Cannot query field"}]}', Class.BAD_PAYLOAD),
        (200, '{"data":{"a":1},"errors":[{"message":"partly"}]}', None),
    ],
)
def test_by_what_is_said(status: int, body: str, due: Class | None) -> None:
    assert class_of(status, body) is due


@pytest.mark.parametrize(
    ("error", "due"),
    [
        ('{"code":-32005,"message":"limit exceeded"}', Class.RATE_LIMITED),
        ('{"code":-32005,"message":"daily request count exceeded"}', Class.QUOTA_SPENT),
        ('{"code":-32000,"message":"missing trie node e5"}', Class.UNKNOWN),
        ('{"code":-32000,"message":"header not found"}', Class.UNKNOWN),
        ('{"code":-32002,"message":"No state available for block"}', Class.UNKNOWN),
        ('{"code":-32801,"message":"no historical RPC is available"}', Class.UNKNOWN),
        ('{"code":-32601,"message":"the method eth_x does not exist"}', Class.UNKNOWN),
        ('{"code":-32602,"message":"invalid argument 0"}', Class.CALLER_FAULT),
        ('{"code":-32603,"message":"Internal error"}', Class.TRANSIENT),
        ('{"code":-32000,"message":"Unauthorized: You must authenticate"}', Class.KEY_REJECTED),
        ('{"code":3,"message":"RPC Request failed."}', Class.BAD_PAYLOAD),
        ('{"code":3,"message":"execution reverted","data":"0x"}', None),
        ('{"code":-32000,"message":"execution reverted: too little"}', None),
        ('"Missed `to` address"', Class.BAD_PAYLOAD),
        ('{"code":-32005,"message":"query returned more than 10000 results"}', Class.UNKNOWN),
        ('{"code":-32000,"message":"archive is for paid plans, upgrade"}', Class.UNKNOWN),
    ],
)
def test_errors_of_nodes(error: str, due: Class | None) -> None:
    body = f'{{"jsonrpc":"2.0","id":null,"error":{error}}}'
    assert class_of(200, body, chain="rpc.base", reader="jsonrpc") is due


@pytest.mark.parametrize(
    ("result", "due"),
    [
        ("Max calls per sec rate limit reached (3/sec)", Class.RATE_LIMITED),
        ("Max daily rate limit reached. 110000 of 100000", Class.QUOTA_SPENT),
        ("Invalid API Key", Class.KEY_REJECTED),
        ("Free API access is not supported for this chain.", Class.PLAN_FORBIDS),
        ("Free API access is temporarily unavailable", Class.RATE_LIMITED),
        ("Error! Invalid address format", Class.CALLER_FAULT),
        ("Something else", Class.BAD_PAYLOAD),
    ],
)
def test_refusals_in_the_envelope_of_etherscan(result: str, due: Class) -> None:
    body = f'{{"status":"0","message":"NOTOK","result":"{result}"}}'
    assert class_of(200, body, chain="balance.ethereum", reader="etherscan") is due


def test_status_0_may_be_an_answer() -> None:
    body = '{"status":"0","message":"No transactions found","result":[]}'
    assert class_of(200, body, chain="whales.evm", reader="etherscan_tokentx") is None


@pytest.mark.parametrize(
    ("headers", "body", "pause_s"),
    [
        ({"retry-after": "30"}, "", 30),
        ({"Retry-After": "Mon, 21 Sep 2026 14:14:20 GMT"}, "", 60),
        ({"x-ratelimit-reset": "30"}, "", 30),
        ({"x-ratelimit-reset": "30000"}, "", 30),
        ({"X-RateLimit-Reset": str(NOW_MS // 1000 + 90)}, "", 90),
        ({"ratelimit-reset": str(NOW_MS + 5000)}, "", 5),
        ({}, "the query server is suspended for 30s", 30),
        ({"Retry-After": "99999999"}, "", 3 * 86_400),
        ({"Retry-After": "soon"}, "", None),
        ({"Retry-After": "-1"}, "", None),
        ({"x-ratelimit-reset": "-1"}, "", None),
        ({}, "", None),
    ],
)
def test_until_when_a_limit_holds(headers: dict[str, str], body: str, pause_s: int | None) -> None:
    error = classified(429, body, headers)
    assert error is not None
    assert error.until_ms == (None if pause_s is None else NOW_MS + pause_s * 1000)


def test_a_quota_comes_back_at_midnight_or_at_the_months_end() -> None:
    midnight = (NOW_MS // DAY_MS + 1) * DAY_MS
    of_day = classified(402)
    of_month = classified(429, '{"error":"monthly limit reached"}')
    assert of_day is not None and of_day.until_ms == midnight
    assert of_month is not None and of_month.until_ms == 1_790_812_800_000  # 2026-10-01
    assert end_of("month", 1_798_761_599_000) == 1_798_761_600_000  # of 2026


def test_rules_of_the_row_come_before_its_providers_and_before_all_else() -> None:
    of_row = ErrorRule("unknown", (400,), "code", "^-1121$")
    ours = ErrorRule("quota_spent", (), "code", "^-1", until="month")
    row: dict[str, Any] = {"errors": (of_row,), "provider": provider(errors=(ours,))}
    assert class_of(400, '{"code":-1121}', **row) is Class.UNKNOWN
    spent = classified(400, '{"code":-1003}', **row)
    assert spent is not None and spent.error_class is Class.QUOTA_SPENT
    assert spent.until_ms == 1_790_812_800_000
    assert class_of(400, '{"code":7}', **row) is Class.BAD_PAYLOAD


@pytest.mark.parametrize(
    ("rule", "body", "due"),
    [
        (ErrorRule("ok", (404,)), "none", None),
        (ErrorRule("transient", (), "errors", None), '{"errors":[]}', None),
        (ErrorRule("transient", (), "errors", None), '{"errors":["x"]}', Class.TRANSIENT),
        (
            ErrorRule("rate_limited", (), None, "slow down", "never"),
            "slow down",
            Class.RATE_LIMITED,
        ),
        (ErrorRule("rate_limited", (), None, "slow", "never"), "slow, never", None),
    ],
)
def test_conditions_of_rules(rule: ErrorRule, body: str, due: Class | None) -> None:
    assert class_of(404 if rule.status else 200, body, errors=(rule,)) is due


def test_messages_are_short_and_printable() -> None:
    error = classified(500, "\x1b[31m" + "x" * 10_000)
    assert error is not None
    assert str(error).startswith("price.aggregate/somebody: 500: [31mxxx")
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("status", "body", "due"),
    [
        (200, '{"status":{"error_code":429,"error_message":"Slow down"}}', Class.RATE_LIMITED),
        (200, '{"error":"Limits reached."}', Class.RATE_LIMITED),
        (200, '{"statusCode":503,"message":"Upstream is away"}', Class.TRANSIENT),
        (200, '{"success":false,"message":"API key required"}', Class.KEY_REJECTED),
        (200, '{"error":{"code":1,"message":"Invalid API key"}}', Class.KEY_REJECTED),
        (200, '{"error":"You have used up all credits left for the month"}', Class.QUOTA_SPENT),
        (200, '{"error":"coin not found"}', Class.UNKNOWN),
        (200, '{"code":7,"msg":"Something else"}', Class.BAD_PAYLOAD),
        (200, '{"errors":[{}]}', Class.BAD_PAYLOAD),
        (200, '{"error":[],"result":{}}', None),
        (200, '{"code":"0","msg":"ok"}', None),
        (200, '{"coins":{}}', None),
        (200, '{"time":1703252411,"USD":43753}', None),
        (400, '{"error":"Invalid API key"}', Class.KEY_REJECTED),
        (400, "Your api_key has expired", Class.KEY_REJECTED),
        (422, "Too many requests", Class.RATE_LIMITED),
        (404, '{"error":"id not found"}', Class.UNKNOWN),
        (403, "error code: 1020", Class.GEO_BLOCKED),
        (403, '{"msg":"Service unavailable from a restricted location"}', Class.GEO_BLOCKED),
        (403, '{"error":"Not in your plan"}', Class.PLAN_FORBIDS),
        (403, '{"error":"Use an API key"}', Class.KEY_REJECTED),
        (503, '{"message":"no server is available"}', Class.TRANSIENT),
    ],
)
def test_an_answer_that_is_nothing_but_an_error(status: int, body: str, due: Class | None) -> None:
    assert class_of(status, body) is due
    assert class_of(status, f"\ufeff{body}") is due  # as some servers begin their texts


def test_a_page_behind_a_byte_order_mark_is_a_page() -> None:
    assert class_of(200, f"\ufeff{HTML}") is Class.TRANSIENT
