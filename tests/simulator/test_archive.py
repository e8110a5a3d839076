"""The simulated archive: what is there when, how it is listed, its rows and its faults."""

import csv
import hashlib
import http.client
import io
import re
import statistics
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fixtures.simulator import Simulator, StartSimulator
from tests.simulator.faults import fault

MINUTE_MS = 60_000
DAY_MS = 86_400_000
UM = "data/futures/um"
METRICS = f"{UM}/daily/metrics/BTCUSDT/BTCUSDT-metrics-{{}}.zip"
MONTH = f"{UM}/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-{{}}.zip"
FUNDING = f"{UM}/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-{{}}.zip"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def body_of(sim: Simulator, key: str) -> bytes:
    status, _, body = sim.full("GET", f"/{key}")
    assert status == 200, (key, status)
    return body


def lines_of(body: bytes) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        (name,) = archive.namelist()
        return list(csv.reader(io.StringIO(archive.read(name).decode())))


def lines(sim: Simulator, key: str) -> list[list[str]]:
    return lines_of(body_of(sim, key))


def checksum_of(sim: Simulator, key: str) -> str:
    return body_of(sim, f"{key}.CHECKSUM").decode().split()[0]


def listed(sim: Simulator, **query: object) -> str:
    status, headers, body = sim.full("GET", "/", query={"delimiter": "/", **query})
    assert (status, headers["Content-Type"]) == (200, "application/xml")
    return body.decode()


def keys_in(page: str) -> list[str]:
    return re.findall("<Key>([^<]*)</Key>", page)


def groups_in(page: str) -> list[str]:
    return re.findall("<CommonPrefixes><Prefix>([^<]*)</Prefix></CommonPrefixes>", page)


# --- rows


def test_candles_are_those_of_the_truth(sim: Simulator) -> None:
    for month, end, header in (("2022-05", "2022-06-01", 0), ("2026-10", "2026-11-01", 1)):
        found = lines(sim, MONTH.format(month))
        assert [row[0] == "open_time" for row in found[:2]] == [header == 1, False]
        truth = sim.truth("4h", symbol="BTCUSDT", exchange="binance", as_of=ms(end), candles=187)
        expected = [row for row in truth["binance:BTCUSDT"] if row[0] < ms(end)]
        assert len(expected) == 186
        got = [[int(r[0]), *map(float, r[1:6]), float(r[7])] for r in found[header:]]
        assert got == [row[:7] for row in expected]
        assert {int(r[6]) - int(r[0]) for r in found[header:]} == {4 * 60 * MINUTE_MS - 1}


def test_settlements_are_those_of_the_truth(sim: Simulator) -> None:
    found = lines(sim, FUNDING.format("2026-10"))
    assert found[0] == ["calc_time", "funding_interval_hours", "last_funding_rate"]
    answer = sim.get("/sim/funding", symbol="BTCUSDT", exchange="binance", funding_history=400)
    first, end = ms("2026-10-01"), ms("2026-11-01")
    expected = [row for row in answer["markets"][0]["rows"] if first <= row[0] < end]
    assert [[int(r[0]), float(r[2])] for r in found[1:]] == expected
    assert {r[1] for r in found[1:]} == {"8"}


def test_the_labels_of_metrics_changed(sim: Simulator) -> None:
    before, since = (lines(sim, METRICS.format(f"2026-06-{day}"))[1:] for day in (24, 25))
    assert (before[0][0], before[-1][0]) == ("2026-06-24 00:05:00", "2026-06-25 00:00:00")
    assert (since[0][0], since[-1][0]) == ("2026-06-25 00:00:00", "2026-06-25 23:55:00")
    assert before[-1] != since[0]  # the doubled label: two snapshots
    truth = sim.truth(
        "5m", symbol="BTCUSDT", exchange="binance", as_of=ms("2026-06-26T00:10"), candles=600
    )
    expected = {row[0]: row[7] for row in truth["binance:BTCUSDT"]}
    for rows, late_ms in ((before, 0), (since, 5 * MINUTE_MS)):
        assert len(rows) == 288
        for row in rows:
            assert float(row[2]) == expected[ms(row[0]) + late_ms]


def test_the_value_of_open_interest_is_at_the_price_of_its_snapshot(sim: Simulator) -> None:
    rows = lines(sim, METRICS.format("2026-06-25"))[1:]
    truth = sim.truth(
        "5m", symbol="BTCUSDT", exchange="binance", as_of=ms("2026-06-26T00:10"), candles=300
    )
    opens = {row[0]: row[1] for row in truth["binance:BTCUSDT"]}

    def error(late_ms: int) -> float:
        """The mean relative distance of the price in the file from the candle's open."""
        found = [abs(float(r[3]) / float(r[2]) / opens[ms(r[0]) + late_ms] - 1) for r in rows]
        return statistics.fmean(found)

    assert error(5 * MINUTE_MS) < 1e-4 < error(0)


def test_the_first_file_of_metrics_is_doubled(sim: Simulator) -> None:
    rows = lines(sim, METRICS.format("2020-09-01"))[1:]
    assert len(rows) == 576
    assert rows[::2] == rows[1::2]
    assert sim.full("GET", "/" + METRICS.format("2020-08-31"))[0] == 404
    assert len(lines(sim, METRICS.format("2020-09-02"))) == 289


# --- what is there, and when


def test_files_appear_late(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=1, bybit=0, now="2026-11-01T00:00:30Z", frozen=True)
    day, month = METRICS.format("2026-10-31"), MONTH.format("2026-10")
    assert {sim.full("GET", f"/{key}{end}")[0] for key in (day, month) for end in ("", ".CHECKSUM")
            } == {404}  # fmt: skip
    sim.post("/sim/clock", {"now": "2026-11-02T02:30:00Z"})
    assert sim.full("GET", f"/{day}")[0] == 200
    assert sim.full("GET", f"/{month}")[0] == 404  # the first Monday is today, but later
    sim.post("/sim/clock", {"now": "2026-11-02T12:00:00Z"})
    assert sim.full("GET", f"/{month}")[0] == 200


@pytest.mark.parametrize(
    "key",
    [
        f"{UM}/daily/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-10-01.zip",
        f"{UM}/monthly/metrics/BTCUSDT/BTCUSDT-metrics-2026-10.zip",
        f"{UM}/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2026-10.zip",
        f"{UM}/monthly/klines/NONEUSDT/4h/NONEUSDT-4h-2026-10.zip",
        f"{UM}/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2026-13.zip",
        f"{UM}/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2026-10.csv",
        f"{UM}/monthly/klines/BTCUSDT/BTCUSDT-4h-2026-10.zip",
        "data/spot/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2026-10.zip",
        "data/../sim/clock",
    ],
)
def test_nothing_else_is_there(sim: Simulator, key: str) -> None:
    status, _, body = sim.full("GET", f"/{key}")
    assert (status, b"<Code>NoSuchKey</Code>" in body) == (404, True)


def test_checksums_and_validators(sim: Simulator) -> None:
    key = MONTH.format("2026-10")
    status, headers, body = sim.full("GET", f"/{key}")
    assert status == 200
    assert headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324 - as S3 does
    line = body_of(sim, f"{key}.CHECKSUM").decode()
    assert line == f"{hashlib.sha256(body).hexdigest()}  BTCUSDT-4h-2026-10.zip\n"
    status, same, empty = sim.full("GET", f"/{key}", headers={"If-None-Match": headers["ETag"]})
    assert (status, same["ETag"], empty) == (304, headers["ETag"], b"")
    assert sim.full("GET", f"/{key}", headers={"If-None-Match": '"x"'})[2] == body
    status, head, empty = sim.full("HEAD", f"/{key}")
    assert (status, head["Content-Length"], empty) == (200, str(len(body)), b"")
    assert sim.full("DELETE", f"/{key}")[0] == 405


# --- listings


def test_folders_are_listed(sim: Simulator) -> None:
    assert groups_in(listed(sim, prefix=f"{UM}/")) == [f"{UM}/daily/", f"{UM}/monthly/"]
    kinds = groups_in(listed(sim, prefix=f"{UM}/daily/"))
    assert kinds == [f"{UM}/daily/klines/", f"{UM}/daily/metrics/"]
    symbols = groups_in(listed(sim, prefix=f"{UM}/monthly/fundingRate/"))
    assert f"{UM}/monthly/fundingRate/BTCUSDT/" in symbols
    assert symbols == sorted(symbols)
    some = groups_in(listed(sim, prefix=f"{UM}/monthly/fundingRate/BTCUSDT"))
    assert f"{UM}/monthly/fundingRate/BTCUSDT/" in some
    assert some == [one for one in symbols if one.split("/")[-2].startswith("BTCUSDT")]
    intervals = groups_in(listed(sim, prefix=f"{UM}/monthly/klines/BTCUSDT/"))
    assert [one.split("/")[-2] for one in intervals] == sorted(
        ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
    )
    assert listed(sim, prefix="nothing/").count("<Contents>") == 0


@pytest.mark.parametrize("delimiter", ["/", ""])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_pages_make_the_whole(sim: Simulator, delimiter: str, size: int) -> None:
    prefix = f"{UM}/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2026-0"
    found: list[str] = []
    query: dict[str, object] = {"prefix": prefix, "max-keys": size, "delimiter": delimiter}
    while True:
        page = listed(sim, **query)
        keys = keys_in(page)
        assert len(keys) <= size
        found += keys
        if "<IsTruncated>false</IsTruncated>" in page:
            break
        assert ("<NextMarker>" in page) == (delimiter == "/")
        query["marker"] = keys[-1]
    assert found == [
        f"{UM}/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2026-0{month}.zip{end}"
        for month in range(1, 10)
        for end in ("", ".CHECKSUM")
    ]


def test_a_page_has_a_thousand_keys(sim: Simulator) -> None:
    prefix = f"{UM}/daily/klines/BTCUSDT/1d/"
    page = listed(sim, prefix=prefix, marker=f"{prefix}BTCUSDT-1d-2025-01-01", **{"max-keys": 5000})
    assert len(keys_in(page)) == 1000
    (marker,) = re.findall("<NextMarker>([^<]*)</NextMarker>", page)
    assert marker == keys_in(page)[-1]
    rest = keys_in(listed(sim, prefix=prefix, marker=marker))
    both = keys_in(page) + rest
    assert both == sorted(set(both))
    assert both[0].endswith("2025-01-01.zip")
    assert both[-1].endswith("2026-11-19.zip.CHECKSUM")  # of yesterday


def test_entries_tell_of_their_objects(sim: Simulator) -> None:
    page = listed(sim, prefix=MONTH.format("2026-10"))
    entries = re.findall("<ETag>(.*?)</ETag><Size>(.*?)</Size>", page)
    for key, (etag, size) in zip(keys_in(page), entries, strict=True):
        status, headers, body = sim.full("GET", f"/{key}")
        assert (status, headers["ETag"], len(body)) == (200, etag.replace("&quot;", '"'), int(size))
    assert sim.full("GET", "/", query={"prefix": "", "max-keys": "x"})[0] == 400
    assert sim.full("GET", "/", query={"prefix": "", "delimiter": "-"})[0] == 400
    assert b"Simulated exchanges" in sim.full("GET", "/")[2]  # without a prefix: who it is


# --- faults


@pytest.fixture
def whole(sim: Simulator) -> Iterator[tuple[Simulator, list[list[str]]]]:
    yield sim, lines(sim, METRICS.format("2026-10-20"))


def damaged(sim: Simulator, kind: str, **fields: Any) -> str:
    fault(sim, kind, period="2026-10-20", symbol="BTCUSDT", **fields)
    return METRICS.format("2026-10-20")


def test_a_missing_file(sim: Simulator) -> None:
    key = damaged(sim, "archive_missing")
    assert sim.full("GET", f"/{key}")[0] == sim.full("GET", f"/{key}.CHECKSUM")[0] == 404
    assert keys_in(listed(sim, prefix=key)) == []
    assert sim.full("GET", "/" + METRICS.format("2026-10-21"))[0] == 200


def test_faults_of_rows(whole: tuple[Simulator, list[list[str]]]) -> None:
    sim, rows = whole

    def of(kind: str) -> list[list[str]]:
        key = damaged(sim, kind, endpoint="metrics")
        body = body_of(sim, key)
        assert hashlib.sha256(body).hexdigest() == checksum_of(sim, key)
        sim.delete("/sim/faults")
        return lines_of(body)

    assert of("archive_half") == rows[:145]
    assert of("archive_doubled") == [rows[0], *(row for row in rows[1:] for _ in range(2))]
    disputed = of("archive_disputed")
    assert disputed[:-1] == rows
    assert (disputed[-1][:2], disputed[-1][2]) == (rows[-1][:2], "1" + rows[-1][2])
    zeros = of("archive_zeros")
    assert [float(row[2]) == 0 for row in zeros[1:]].count(True) == 24
    assert [z for z in zeros[1:] if float(z[2])] == [
        row for row, z in zip(rows[1:], zeros[1:], strict=True) if float(z[2])
    ]
    draft = of("archive_draft")
    assert (draft[1][2] == rows[1][2], draft[2:]) == (False, rows[2:])


def test_a_file_is_replaced_in_place(sim: Simulator) -> None:
    key = damaged(sim, "archive_draft")
    before = listed(sim, prefix=key), checksum_of(sim, key), body_of(sim, key)
    sim.delete("/sim/faults")
    after = listed(sim, prefix=key), checksum_of(sim, key), body_of(sim, key)
    assert all(old != new for old, new in zip(before, after, strict=True))
    monthly, old = MONTH.format("2026-10"), body_of(sim, MONTH.format("2026-10"))
    fault(sim, "correction", exchange="binance", symbol="BTCUSDT", time=ms("2026-10-20T12:00"))
    assert body_of(sim, monthly) != old  # a correction of the market replaces its files, too


def test_faults_of_the_zip(sim: Simulator) -> None:
    key = damaged(sim, "archive_truncated")
    body = body_of(sim, key)
    assert hashlib.sha256(body).hexdigest() == checksum_of(sim, key)
    with pytest.raises(zipfile.BadZipFile):
        lines_of(body)
    sim.delete("/sim/faults")
    key = damaged(sim, "archive_path")
    assert zipfile.ZipFile(io.BytesIO(body_of(sim, key))).namelist()[0].startswith("../../")
    sim.delete("/sim/faults")
    key = damaged(sim, "archive_checksum")
    assert hashlib.sha256(body_of(sim, key)).hexdigest() != checksum_of(sim, key)
    sim.delete("/sim/faults")
    key = damaged(sim, "archive_no_checksum")
    assert sim.full("GET", f"/{key}.CHECKSUM")[0] == 404
    assert keys_in(listed(sim, prefix=key)) == [key]
    sim.delete("/sim/faults")
    bomb = zipfile.ZipFile(io.BytesIO(body_of(sim, damaged(sim, "archive_bomb")))).infolist()[0]
    assert (bomb.file_size, bomb.compress_size < 125_000) == (100_000_000, True)


def test_faults_of_answers(sim: Simulator) -> None:
    key = f"/{METRICS.format('2026-10-20')}"
    fault(sim, "status", exchange="archive", status=503, retry_after=7, count=1)
    status, headers, _ = sim.full("GET", key)
    assert (status, headers["Retry-After"]) == (503, "7")
    fault(sim, "archive_cut", endpoint="metrics", count=1)
    connection = http.client.HTTPConnection(urlsplit(sim.base_url).netloc, timeout=60)
    try:
        connection.request("GET", key)
        response = connection.getresponse()
        assert int(response.headers["Content-Length"]) > 1000
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    finally:
        connection.close()
    assert sim.full("GET", key)[0] == 200
    fault(sim, "reset", exchange="archive", endpoint="listing", count=1)
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        sim.full("GET", "/", query={"prefix": UM})
    assert sim.full("GET", "/fapi/v1/time")[0] == 200
    stats = sim.stats()
    assert stats["faults"] == {"status": 1, "archive_cut": 1, "reset": 1}
    assert stats["requests"]["archive"] == {
        "metrics": {"0": 1, "200": 1, "503": 1}, "listing": {"0": 1}
    }  # fmt: skip


def test_rules_are_checked(sim: Simulator) -> None:
    for rule in (
        {"kind": "archive_half", "interval_ms": 5},
        {"kind": "status", "status": 500, "period": "2026-10"},
    ):
        assert sim.full("POST", "/sim/faults", json_body=rule)[0] == 400
