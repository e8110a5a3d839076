"""Archive files: checksums, and zip archives that are truncated, too large, or hold other files."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.container import most_bytes, read_file, unpacked
from history.archive.errors import ArchiveError
from history.archive.names import parse_name
from tests.history.archive.files import DAY, KLINES, kline, ms, text_of, write_zip, zipped

NAME = "BTCUSDT-1d-2026-03.zip"
CSV = "BTCUSDT-1d-2026-03.csv"
LINES = [KLINES, *(kline(ms("2026-03-01") + day * DAY, DAY) for day in range(31))]


def test_a_file_is_unpacked_and_its_checksum_verified(tmp_path: Path) -> None:
    path = write_zip(tmp_path, NAME, LINES, checksum=True)
    content = read_file(path, parse_name(path))
    assert content.text == text_of(LINES)
    assert content.checked
    assert content.size == path.stat().st_size
    plain = tmp_path / CSV
    plain.write_bytes(text_of(LINES))
    found = read_file(plain, parse_name(plain))
    assert (found.text, found.checked) == (text_of(LINES), False)


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, NAME, LINES, checksum=True)
    path.write_bytes(zipped(CSV, text_of(LINES[:-1])))
    with pytest.raises(ArchiveError, match=r"its sha256 is .* and BTCUSDT-1d-2026-03.zip.CHECKSUM"):
        read_file(path, parse_name(path))


@pytest.mark.parametrize("text", ["", "no checksum", f"{'0' * 64}  OTHER-1d-2026-03.zip\n"])
def test_a_checksum_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = write_zip(tmp_path, NAME, LINES)
    (tmp_path / f"{NAME}.CHECKSUM").write_text(text)
    with pytest.raises(ArchiveError, match="is no checksum of it"):
        read_file(path, parse_name(path))


def test_a_checksum_may_be_required(tmp_path: Path) -> None:
    path = write_zip(tmp_path, NAME, LINES)
    assert not read_file(path, parse_name(path)).checked
    with pytest.raises(ArchiveError, match=f"no {NAME}.CHECKSUM lies beside it"):
        read_file(path, parse_name(path), require_checksum=True)


def test_a_truncated_archive_is_refused_wherever_it_ends() -> None:
    whole = zipped(CSV, text_of(LINES))
    for end in range(len(whole)):
        with pytest.raises(ArchiveError, match=r"truncated|must hold|damaged"):
            unpacked(whole[:end], parse_name(NAME))


def test_a_damaged_archive_is_refused() -> None:
    whole = bytearray(zipped(CSV, text_of(LINES)))
    whole[100] ^= 0xFF  # within the packed text
    with pytest.raises(ArchiveError, match="truncated or damaged"):
        unpacked(bytes(whole), parse_name(NAME))


@pytest.mark.parametrize(
    "members",
    [
        [],
        ["../" + CSV],
        ["/etc/" + CSV],
        [CSV, "other.csv"],
        ["ETHUSDT-1d-2026-03.csv"],
        [CSV + "/"],
    ],
)
def test_an_archive_must_hold_one_file_of_its_own_name(members: list[str]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member in members:
            archive.writestr(member, "" if member.endswith("/") else text_of(LINES))
    with pytest.raises(ArchiveError, match=r"must hold BTCUSDT-1d-2026-03\.csv, and nothing else"):
        unpacked(packed.getvalue(), parse_name(NAME))


def test_an_archive_of_many_files_is_refused_before_its_directory_is_read() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.csv", "")
    with pytest.raises(ArchiveError, match="more than one file"):
        unpacked(packed.getvalue(), parse_name(NAME))


def test_what_unpacks_to_more_than_its_name_allows_is_refused() -> None:
    name = parse_name(NAME)
    zeros = b"0" * (most_bytes(name) + 1)
    with pytest.raises(ArchiveError, match="more than its name allows"):
        unpacked(zipped(CSV, zeros), name)
    with pytest.raises(ArchiveError, match="more than its name allows"):
        unpacked(zipped(CSV, b"0" * 60_000), name)  # 500 times as large as packed


def test_a_directory_that_tells_less_than_there_is_does_not_help() -> None:
    name = parse_name(NAME)
    packed = bytearray(zipped(CSV, b"0,1\n" * 200_000))
    directory = packed.rfind(b"PK\x01\x02")
    struct.pack_into("<I", packed, directory + 24, 10_000)  # the unpacked size
    struct.pack_into("<I", packed, 22, 10_000)
    with pytest.raises(ArchiveError):
        unpacked(bytes(packed), name)


def test_a_file_of_more_bytes_than_its_name_allows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(bytes(most_bytes(parse_name(NAME)) + 1))
    with pytest.raises(ArchiveError, match="it has more than 65536 bytes"):
        read_file(path, parse_name(path))
    folder = tmp_path / CSV
    folder.mkdir()
    with pytest.raises(ArchiveError, match="no regular file"):
        read_file(folder, parse_name(folder))


@given(st.binary(max_size=400), st.integers(0, 2000), st.booleans())
def test_any_bytes_are_unpacked_or_refused(noise: bytes, place: int, insert: bool) -> None:
    name = parse_name(NAME)
    whole = zipped(CSV, text_of(LINES))
    place = min(place, len(whole))
    for data in (noise, whole[:place] + noise + whole[place + (0 if insert else len(noise)) :]):
        try:
            text = unpacked(data, name)
        except ArchiveError:
            continue
        assert len(text) <= most_bytes(name)
