"""How answers are spoilt: bodies of failing servers, rows that make no sense. Pure functions."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from simulator.answers import HTML, Answer, dump
from simulator.bybit import BODY_HTML, GEO_HTML

NGINX: Final = (
    "<html>\r\n<head><title>{status} {text}</title></head>\r\n<body>\r\n<center><h1>{status} {text}"
    "</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_REASONS: Final = {
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Temporarily Unavailable",
    504: "Gateway Time-out", 404: "Not Found", 403: "Forbidden", 408: "Request Time-out",
}  # fmt: skip
# Binance's three texts of a 503.
_UNAVAILABLE: Final = {
    "unknown": (-1000, "Unknown error, please check your request or try again later."),
    "unavailable": (-1000, "Service Unavailable."),
    "overload": (-1008, "Server is currently overloaded with other requests."),
}
_RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error."
)


def status_answer(exchange: str, status: int, text: str, variant: str) -> Answer:
    """An HTTP error as the exchange words it; `text` replaces the body."""
    if text:
        return Answer(status, text.encode(), "text/plain; charset=utf-8")
    if status == 403 and exchange == "bybit":
        if variant == "geo":
            return Answer(403, GEO_HTML, HTML)
        if variant == "body":
            return Answer(403, BODY_HTML, HTML)
        return Answer(403, b"access too frequent", "text/plain; charset=utf-8")
    if exchange == "binance":
        if status == 451:
            return Answer(451, dump({"code": 0, "msg": _RESTRICTED}))
        if status == 408:
            message = "Timeout waiting for response from backend server."
            return Answer(408, dump({"code": -1007, "msg": message}))
        if status == 503 and variant in _UNAVAILABLE:
            code, message = _UNAVAILABLE[variant]
            return Answer(503, dump({"code": code, "msg": message}))
        if status == 500:
            code, message = _UNAVAILABLE["unknown"]
            return Answer(500, dump({"code": code, "msg": message}))
    page = NGINX.format(status=status, text=_REASONS.get(status, "Error"))
    return Answer(status, page.encode(), HTML)


def geo_answer(exchange: str) -> Answer:
    """Blocked by country: waiting does not help."""
    if exchange == "binance":
        return status_answer("binance", 451, "", "")
    return Answer(403, GEO_HTML, HTML)


def html_200(exchange: str) -> Answer:
    """A web page that says OK."""
    return Answer(200, NGINX.format(status=200, text="Maintenance").encode(), HTML)


def truncated(answer: Answer, variant: str) -> None:
    """The first half of the body."""
    answer.body = answer.body[: len(answer.body) // 2] or b"{"


def _rows_of(body: Any) -> list[Any] | None:
    if isinstance(body, list):
        return body
    if isinstance(body, dict):
        result = body.get("result")
        if isinstance(result, dict) and isinstance(result.get("list"), list):
            return list(result["list"])
        if isinstance(body.get("symbols"), list):
            return list(body["symbols"])
    return None


def _with_rows(body: Any, rows: list[Any]) -> bytes:
    if isinstance(body, list):
        return dump(rows)
    if "symbols" in body:
        return dump({**body, "symbols": rows})
    return dump({**body, "result": {**body["result"], "list": rows}})


def wrong_types(answer: Answer, variant: str) -> None:
    """Lists become objects, texts become numbers or nothing, numbers become texts."""
    body = orjson.loads(answer.body)
    rows = _rows_of(body)
    if rows is None:
        answer.body = dump([body])
        return
    turned = [_turned(row, index) for index, row in enumerate(rows)]
    answer.body = _with_rows(body, turned) if turned else dump("nothing")


def _turned(row: Any, index: int) -> Any:
    if index % 3 == 0:
        return None
    if isinstance(row, list):
        return {str(place): value for place, value in enumerate(row)}
    if isinstance(row, dict):
        return {name: [value] for name, value in row.items()}
    return 0


def repeated_cursor(answer: Answer, variant: str) -> None:
    """A cursor that never ends."""
    body = orjson.loads(answer.body)
    if isinstance(body.get("result"), dict) and "nextPageCursor" in body["result"]:
        cursor = body["result"]["nextPageCursor"] or "lastid%3D1%26lasttime%3D4102444800000"
        body["result"]["nextPageCursor"] = cursor
        answer.body = dump(body)


def nonsense(answer: Answer, variant: str) -> None:
    """Spoils rows; an answer without rows stays as it is."""
    body = orjson.loads(answer.body)
    rows = _rows_of(body)
    if rows:
        answer.body = _with_rows(body, _NONSENSE[variant](rows))


def _set(row: Any, place: int, names: tuple[str, ...], value: str) -> None:
    """Replaces a number in a candle by place, in an object by all of the names that it has."""
    if isinstance(row, list):
        row[place] = value
        return
    for name in names:
        if name in row:
            row[name] = value


_AMOUNTS: Final = ("openInterest", "singleOpenInterest", "sumOpenInterest", "fundingRate")
_STAMPS: Final = ("timestamp", "fundingTime", "fundingRateTimestamp")


def _high_below_low(rows: list[Any]) -> list[Any]:
    row = rows[len(rows) // 2]
    if isinstance(row, list):
        row[2], row[3] = row[3], row[2]
        if row[2] == row[3]:
            row[2], row[3] = "1", "2"
    return rows


def _negative_volume(rows: list[Any]) -> list[Any]:
    _set(rows[len(rows) // 2], 5, _AMOUNTS[:3], "-1")
    return rows


def _unsorted(rows: list[Any]) -> list[Any]:
    return rows[1::2] + rows[::2]


def _duplicate(rows: list[Any]) -> list[Any]:
    middle = len(rows) // 2
    return [*rows[: middle + 1], *rows[middle:]]


def _off_grid(rows: list[Any]) -> list[Any]:
    row = rows[len(rows) // 2]
    if isinstance(row, list):
        row[0] = type(row[0])(int(row[0]) + 61_000)
    for name in _STAMPS:
        if isinstance(row, dict) and name in row:
            row[name] = type(row[name])(int(row[name]) + 61_000)
    return rows


def _nan(rows: list[Any]) -> list[Any]:
    _set(rows[len(rows) // 2], 4, _AMOUNTS, "NaN")
    return rows


_NONSENSE: Final[dict[str, Callable[[list[Any]], list[Any]]]] = {
    "high_below_low": _high_below_low,
    "negative_volume": _negative_volume,
    "unsorted": _unsorted,
    "duplicate": _duplicate,
    "off_grid": _off_grid,
    "nan": _nan,
}
NONSENSE_VARIANTS: Final = tuple(_NONSENSE)

# Kinds that replace the answer, by exchange, and kinds that spoil one that was made.
REPLACED: Final[dict[str, Callable[[str], Answer]]] = {
    "geo": geo_answer,
    "html_200": html_200,
    "empty_body": lambda exchange: Answer(200, b""),
}
SPOILT: Final[dict[str, Callable[[Answer, str], None]]] = {
    "truncated_json": truncated,
    "wrong_types": wrong_types,
    "nonsense": nonsense,
    "repeated_cursor": repeated_cursor,
}
