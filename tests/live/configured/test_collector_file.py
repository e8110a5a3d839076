"""The file of COLLECTORS: what it may say, and the line that names each mistake."""

import os
import time
from pathlib import Path
from typing import Final

import pytest

from live.configured.collector_file import WrongCollectors, read_collector_file

ROOT: Final = Path(__file__).resolve().parents[3]
WELL: Final = """
[[collector]]
name = "majors"
exchange = "binance"
symbols = ["BTC-USDT", "ETH/USDT:USDT"]
data_types = ["ticker", "trade"]
outputs = ["redis"]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "collectors.toml"
    file.write_text(text, encoding="utf-8")
    return file


def with_line(line: str) -> str:
    """The file with this line in place of the one that sets the same key, or added."""
    key = line.partition(" = ")[0]
    kept = [each for each in WELL.splitlines() if each.partition(" = ")[0] != key]
    return "\n".join([*kept, line])


def mistakes(path: Path) -> list[str]:
    """The lines, without the file's name."""
    with pytest.raises(WrongCollectors) as caught:
        read_collector_file(path)
    assert str(caught.value) == "\n".join(caught.value.lines)
    assert all(line.startswith(f"{path}: ") for line in caught.value.lines)
    assert all(line.isprintable() and len(line) < 600 for line in caught.value.lines)
    return [line.removeprefix(f"{path}: ") for line in caught.value.lines]


def test_an_editor_may_have_put_a_mark_of_the_byte_order_before_it(tmp_path: Path) -> None:
    [found] = read_collector_file(written(tmp_path, f"\ufeff{WELL}")).collectors
    assert found.name == "majors"


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    [found] = read_collector_file(written(tmp_path, WELL)).collectors
    assert (found.name, found.exchange, found.data_types) == (
        "majors",
        "binance",
        ("ticker", "trade"),
    )
    assert found.symbols == {"BTC-USDT": "BTCUSDT", "ETH/USDT:USDT": "ETHUSDT"}
    assert (found.timeframes, found.book_depth, found.enabled) == ((), 50, True)
    [found] = read_collector_file(
        written(tmp_path, with_line('data_types = ["candle"]'))
    ).collectors
    assert found.timeframes == ("1m",)


def test_a_file_without_collectors_has_none(tmp_path: Path) -> None:
    for text in ("", "# none yet\n", "collector = []\n"):
        assert read_collector_file(written(tmp_path, text)).collectors == ()


def test_the_example_is_one_that_can_be_used() -> None:
    found = read_collector_file(ROOT / "deploy" / "collectors.example.toml").collectors
    assert {each.exchange for each in found} == {"binance", "bybit", "okx"}
    assert {kind for each in found for kind in each.data_types} == {
        *("ticker", "trade", "orderbook", "candle")
    }
    assert {output for each in found for output in each.outputs} == {"redis", "postgres"}
    assert [each.enabled for each in found] == [True, True, False]


def test_a_file_is_as_old_as_its_last_change(tmp_path: Path) -> None:
    file = written(tmp_path, WELL)
    os.utime(file, (1_700_000_000, 1_700_000_000.5))
    assert read_collector_file(file).modified_ms == 1_700_000_000_500
    ahead = time.time() + 1_000_000
    os.utime(file, (ahead, ahead))
    assert read_collector_file(file).modified_ms <= time.time_ns() // 1_000_000


def test_a_link_is_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted into containers is a link that leads elsewhere after each change."""
    file = written(tmp_path, WELL)
    (tmp_path / "link.toml").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    assert read_collector_file(Path("link.toml")).path == tmp_path / "link.toml"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("name = 5", "name: 5 must be 1 to 64 letters"),
        ('name = ""', "name: blank must be 1 to 64 letters"),
        ('name = "../../etc/passwd"', "name: '../../etc/passwd' must be 1 to 64 letters"),
        ('name = "' + "n" * 65 + '"', "must be 1 to 64 letters"),
        ('name = "a\\u0000b"', "name: 'a b' must be"),
        ('name = "größe"', "name: 'größe' must be"),
        ('exchange = "kraken"', "exchange: 'kraken' must be one of binance, bybit, okx"),
        ('exchange = "Binance"', "must be one of binance, bybit, okx"),
        ("symbols = []", "symbols: [] must be a list of names such as BTC-USDT"),
        ('symbols = "BTC-USDT"', "symbols: 'BTC-USDT' must be a list of names such as BTC-USDT"),
        (
            'symbols = ["BTC//USDT"]',
            "symbols: not the name of a market: 'BTC//USDT'; write it as BTCUSDT, BTC-USDT or",
        ),
        ('symbols = ["BTC-USDT", "BTCUSDT"]', "'BTCUSDT' is the same market as 'BTC-USDT'"),
        ('symbols = ["BTC-USDT", "BTC-USDT"]', "symbols: 'BTC-USDT' is there twice"),
        ("symbols = [1]", "symbols: 1 is no text: must be a list of names"),
        ('symbols = [""]', "symbols: blank is not the name of a market: write it as"),
        ('symbols = ["' + "A" * 100 + '"]', "is not the name of a market: write it as"),
        ('symbols = ["BTC\\u0000USDT"]', "not the name of a market: 'BTC USDT'; write it as"),
        ('data_types = ["trades"]', "'trades' is none of ticker, trade, orderbook, candle"),
        ('data_types = ["balance"]', "data_types: balance needs an account's keys"),
        ('data_types = ["trade", "trade"]', "data_types: 'trade' is there twice"),
        ('timeframes = ["1m"]', "timeframes: are of candles: add candle to data_types"),
        ("book_depth = 5", "book_depth: is of order books: add orderbook to data_types"),
        ("book_depth = 0", "book_depth: 0 is no whole number from 1 to 1000"),
        ("book_depth = true", "book_depth: True is no whole number from 1 to 1000"),
        ("outputs = []", "outputs: [] must be a list of redis, postgres, each once"),
        ('outputs = ["kafka"]', "outputs: 'kafka' is none of redis, postgres"),
        ("enabled = 1", "enabled: 1 is neither true nor false"),
        ("auto_restart = true", "'auto_restart': is unknown; there are name, exchange, symbols"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, line: str, told: str) -> None:
    found = mistakes(written(tmp_path, with_line(line)))
    title = "number 1" if line.startswith("name") else "majors"
    assert len(found) == 1
    assert found[0].startswith(f"collector {title}: ")
    assert told in found[0]


def collector(**lines: str) -> str:
    text = WELL
    for key, value in lines.items():
        kept = [each for each in text.splitlines() if each.partition(" = ")[0] != key]
        text = "\n".join([*kept, f"{key} = {value}"])
    return text


def test_postgres_keeps_no_candles(tmp_path: Path) -> None:
    text = collector(data_types='["trade", "candle"]', outputs='["redis", "postgres"]')
    [found] = mistakes(written(tmp_path, text))
    assert "outputs: postgres: takes ticker, trade, orderbook, not candle" in found


def test_a_timeframe_that_the_exchange_does_not_stream(tmp_path: Path) -> None:
    text = collector(exchange='"okx"', data_types='["candle"]', timeframes='["8h", "1m"]')
    [found] = mistakes(written(tmp_path, text))
    assert found.startswith("collector majors: timeframes: okx has no timeframe '8h'; it has 1m,")


def test_more_levels_than_the_exchange_has(tmp_path: Path) -> None:
    text = with_line('exchange = "bybit"').replace('"ticker", "trade"', '"orderbook"')
    assert mistakes(written(tmp_path, f"{text}\nbook_depth = 201")) == [
        "collector majors: book_depth: 201 is no whole number from 1 to 200, which are the levels"
        " of bybit"
    ]
    [found] = read_collector_file(written(tmp_path, f"{text}\nbook_depth = 200")).collectors
    assert found.book_depth == 200


def test_more_order_books_than_a_collector_keeps(tmp_path: Path) -> None:
    symbols = ", ".join(f'"A{number}-USDT"' for number in range(201))
    text = collector(symbols=f"[{symbols}]", data_types='["orderbook"]')
    [found] = mistakes(written(tmp_path, text))
    assert "symbols: there are 201, and a collector keeps at most 200 order books" in found
    text = collector(symbols=f"[{symbols}]", data_types='["trade"]')
    assert len(read_collector_file(written(tmp_path, text)).collectors[0].symbols) == 201


def test_every_mistake_of_every_collector_is_named(tmp_path: Path) -> None:
    text = 'colector = 1\n[[collector]]\nname = "a"\n[[collector]]\nname = "a"\nexchange = "x"'
    missing = ("data_types: is missing;", "outputs: is missing;")
    assert [line.split(" it ")[0] for line in mistakes(written(tmp_path, text))] == [
        "'colector' is unknown; there are only [[collector]] tables",
        *(f"collector a: {field}" for field in (*missing, "exchange: is missing;")),
        *(f"collector a: {field}" for field in missing),
        "collector a: exchange: 'x' must be one of binance, bybit, okx",
        "collector a: name: number 1 has it, too: give each another",
    ]


def test_many_mistakes_are_told_in_few_lines(tmp_path: Path) -> None:
    symbols = ", ".join(f'"{number}/"' for number in range(5000))
    found = mistakes(written(tmp_path, collector(symbols=f"[{symbols}]")))
    assert len(found) == 11
    assert found[-1] == "collector majors: symbols: and 4990 more mistakes"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[[collector]\n", "is not TOML: "),
        (b"a = " + b"[" * 100_000, "is not TOML: "),
        (b"a = 1" + b"0" * 5000, "is not TOML: "),
        (b"[collector]\nname = 'a'", "collector: write each as [[collector]]"),
        (b"collector = [1]", "collector: write each as [[collector]]"),
        (b"# \xff", "cannot be read: it is not UTF-8"),
        (b"#" * 1_000_001, "is larger than 1000000 bytes"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "collectors.toml"
    file.write_bytes(content)
    [found] = mistakes(file)
    assert found.startswith(told)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "none.toml") == ["cannot be read: No such file or directory"]
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it
    for path in (tmp_path, tmp_path / "pipe"):
        assert mistakes(path) == ["is no regular file"]
