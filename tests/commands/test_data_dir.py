"""The exchange addresses in a DATA_DIR: whose they are, without passwords, for their owner only."""

import json
import os
import stat
from pathlib import Path

import pytest

from commands.data_dir import remember_exchanges
from commands.errors import CannotStart
from config import load_settings

SECRET = "http://me:hunter2@127.0.0.1:9000"


def written(folder: Path) -> dict[str, str]:
    file = folder / "exchanges.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["exchanges.json"]
    text = file.read_text()
    assert "hunter2" not in text
    found: dict[str, str] = json.loads(text)
    return found


def remember(folder: Path, **addresses: str) -> None:
    remember_exchanges(load_settings(data_dir=folder, **addresses))


def test_an_address_is_kept_without_its_password(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    previous = os.umask(0)
    try:
        remember(folder, binance_base_url=f"{SECRET}/")
    finally:
        os.umask(previous)
    assert written(folder) == {
        "binance": "http://127.0.0.1:9000",
        "bybit": "https://api.bybit.com",
    }
    # A new password, or none, is no other exchange.
    remember(folder, binance_base_url="http://me:other@127.0.0.1:9000")
    remember(folder, binance_base_url="http://127.0.0.1:9000")
    with pytest.raises(CannotStart, match=r"was filled from binance at http://127\.0\.0\.1:9000,"):
        remember(folder, binance_base_url="http://me:hunter2@127.0.0.1:9001")


def test_a_file_of_an_earlier_release_loses_its_password(tmp_path: Path) -> None:
    file = tmp_path / "data" / "exchanges.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"binance": SECRET, "bybit": "https://api.bybit.com"}))
    file.chmod(0o644)
    remember(file.parent, binance_base_url=SECRET)
    assert written(file.parent)["binance"] == "http://127.0.0.1:9000"
    # Right already, but readable by everybody.
    file.chmod(0o644)
    remember(file.parent, binance_base_url=SECRET)
    assert written(file.parent)["binance"] == "http://127.0.0.1:9000"


def test_a_file_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    remember(folder)
    before = (folder / "exchanges.json").stat().st_ino
    remember(folder)
    assert (folder / "exchanges.json").stat().st_ino == before


@pytest.mark.parametrize(
    "content", ["[]", '{"binance": 1}', '{"binance": "http://u:hunter2', "\xff"]
)
def test_a_damaged_file_is_named_and_not_repeated(tmp_path: Path, content: str) -> None:
    (tmp_path / "exchanges.json").write_text(content, encoding="latin-1")
    with pytest.raises(CannotStart, match=r"cannot be used: exchanges\.json is damaged") as refused:
        remember(tmp_path)
    assert "hunter2" not in str(refused.value)
