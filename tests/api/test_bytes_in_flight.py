"""The counting of bytes in flight: each buffer once, per client and in all, and both limits."""

from collections.abc import Hashable, Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bytes_in_flight import BytesInFlight, Holding, TooManyBytes
from api_routes import create_app
from config import SettingsError, load_settings


def test_a_buffer_counts_once_for_each_client_and_once_in_all() -> None:
    ledger = BytesInFlight(1000)
    first = ledger.hold("a", {"x": 60, "y": 40})
    second = ledger.hold("a", {"x": 60})
    other = ledger.hold("b", {"x": 60})
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (100, 100, 60)
    first.release()
    first.release()
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (60, 60, 60)
    second.exchange({"z": 5})
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (65, 5, 60)
    other.release()
    second.release()
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (0, 0, 0)


def test_a_client_has_an_eighth() -> None:
    ledger = BytesInFlight(800)
    first = ledger.hold("a", {"x": 60})
    ledger.hold("a", {"y": 40})
    with pytest.raises(TooManyBytes, match="eighth of MAX_BYTES_IN_FLIGHT") as refused:
        ledger.hold("a", {"z": 1})
    assert refused.value.status == 429
    with pytest.raises(TooManyBytes):
        ledger.hold("a", {"z": 0})  # in memory without it now, but perhaps not for long
    again = ledger.hold("a", {"x": 60})  # takes no more than it has
    ledger.hold("b", {"z": 100})
    first.release()
    again.release()
    ledger.hold("a", {"z": 60})


def test_one_reader_of_the_largest_document_always_works() -> None:
    ledger = BytesInFlight(800)
    largest = ledger.hold("a", {"x": 5000})
    ledger.hold("a", {"x": 5000})
    with pytest.raises(TooManyBytes) as refused:
        ledger.hold("b", {"y": 1})
    assert refused.value.status == 503
    assert "limit 0.0008 MB, MAX_BYTES_IN_FLIGHT" in str(refused.value)
    largest.release()
    assert ledger.total == 5000


def test_all_clients_together_have_the_limit() -> None:
    ledger = BytesInFlight(800)
    held = [ledger.hold(f"c{n}", {n: 100}) for n in range(8)]
    with pytest.raises(TooManyBytes) as refused:
        ledger.hold("new", {"y": 1})
    assert refused.value.status == 503
    ledger.hold("new", {0: 100})  # a buffer that is held already
    held[1].release()
    ledger.hold("other", {"y": 100})


def test_a_replaced_version_counts_for_its_readers() -> None:
    ledger = BytesInFlight(8000)
    ledger.weigh("v1", 600)  # nobody reads it
    readers = [ledger.hold(client, {"v1": 0}) for client in ("a", "a", "b")]
    assert ledger.total == 0
    ledger.weigh("v1", 600)
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (600, 600, 600)
    for reader in readers:
        reader.release()
    assert (ledger.total, ledger.held_by("a"), ledger.held_by("b")) == (0, 0, 0)


def test_an_exchange_that_is_refused_holds_nothing() -> None:
    ledger = BytesInFlight(800)
    ledger.hold("a", {"x": 60})
    holding = ledger.hold("a", {"wait": 1})
    with pytest.raises(TooManyBytes):
        holding.exchange({"y": 50})
    assert ledger.held_by("a") == 60
    holding.exchange({"y": 50}, checked=False)
    assert ledger.held_by("a") == 110


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("hold", "release", "exchange", "weigh")),
        st.integers(0, 2),
        st.dictionaries(st.integers(0, 4), st.integers(0, 50), max_size=3),
        st.integers(0, 9),
    ),
    max_size=60,
)


@given(STEPS)
def test_counts_are_those_of_a_naive_count(
    steps: list[tuple[str, int, Mapping[Hashable, int], int]],
) -> None:
    ledger = BytesInFlight(10**6)
    sizes: dict[Hashable, int] = {}
    open_ones: list[tuple[str, list[Hashable], Holding]] = []
    for step, client_number, buffers, index in steps:
        client = f"c{client_number}"
        if step == "hold":
            # What is held keeps the size that it was given last.
            sizes |= buffers
            open_ones.append((client, list(buffers), ledger.hold(client, buffers)))
        elif step == "weigh":
            for name, size in buffers.items():
                ledger.weigh(name, size)
                sizes[name] = size
        elif open_ones:
            client, _, holding = open_ones.pop(index % len(open_ones))
            if step == "release":
                holding.release()
            else:
                sizes |= buffers
                holding.exchange(buffers)
                open_ones.append((client, list(buffers), holding))
        held = {name for _, names, _ in open_ones for name in names}
        assert ledger.total == sum(sizes[name] for name in held)
        for client in ("c0", "c1", "c2"):
            own = {name for who, names, _ in open_ones if who == client for name in names}
            assert ledger.held_by(client) == sum(sizes[name] for name in own)


def test_who_a_request_counts_for() -> None:
    def scope(*forwarded: bytes) -> dict[str, Any]:
        headers = [(b"x-forwarded-for", value) for value in forwarded]
        return {"client": ("192.0.2.1", 5), "headers": [(b"host", b"x"), *headers]}

    believing = BytesInFlight(1, load_settings(trusted_proxies="192.0.2.0/24").trusted_proxies)
    for _ in range(2):  # worked out, then remembered
        assert BytesInFlight(1).client(scope(b"198.51.100.7")) == "192.0.2.1"
        assert believing.client(scope(b"198.51.100.7")) == "198.51.100.7"
        assert believing.client(scope(b"198.51.100.7", b"198.51.100.8")) == "198.51.100.8"


def test_the_processes_behind_one_port_share_the_limit() -> None:
    settings = load_settings(web_concurrency=4, max_bytes_in_flight=8_000_000)
    ledger = create_app(settings, cast(Any, None)).in_flight
    assert (ledger.most, ledger.share) == (2_000_000, 250_000)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 10**9),
        ("1GB", 10**9),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("1500KB", 1_500_000),
        ("2GiB", 2**31),
        ("64MiB", 2**26),
        ("1000000", 10**6),
    ],
)
def test_sizes_in_settings(monkeypatch: pytest.MonkeyPatch, value: str, size: int) -> None:
    monkeypatch.setenv("MAX_BYTES_IN_FLIGHT", value)
    assert load_settings().max_bytes_in_flight == size


@pytest.mark.parametrize("value", ["1.5GB", "-1", "1G", "1TB", "GB", "1 G B", "1e9", "999999", "0"])
def test_sizes_that_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MAX_BYTES_IN_FLIGHT", value)
    with pytest.raises(SettingsError, match="MAX_BYTES_IN_FLIGHT: ") as refused:
        load_settings()
    assert "such as 500MB" in str(refused.value) or "1000000" in str(refused.value)
