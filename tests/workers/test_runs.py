"""What is kept of results and errors, and how calls are batched; attempts run in test_engine_*."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logging_setup import cleaned_fields, configure_logging, hide_secrets
from tests.fixtures import plain_logs
from tests.fixtures.signals import Gate
from workers.batches import Batches
from workers.run_ends import error_text, result_text, retry_s

_STORABLE = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_STORABLE),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(_STORABLE), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_a_result_is_kept_as_json_in_ascii(result: object) -> None:
    text = result_text(result)
    assert (text is None) is (result is None)
    assert text is None or (text.isascii() and json.loads(text) == result)


def test_results_that_json_does_not_know_or_that_are_too_long_are_told() -> None:
    assert json.loads(str(result_text(float("nan")))).keys() == {"not_json"}
    assert json.loads(str(result_text({(1, 2): 3}))).keys() == {"not_json"}
    assert json.loads(str(result_text("x" * 2_000_000))) == {"too_long": 2_000_002}
    assert json.loads(str(result_text({1, 2}))) == "{1, 2}"  # by its text


def test_a_result_is_kept_without_what_no_reader_can_be_sent() -> None:
    kept = str(result_text({"a\x00": ["\ud800b", "\\u0000", "\U0001f600"]}))
    assert json.loads(kept) == {"a\ufffd": ["\ufffdb", "\\u0000", "\U0001f600"]}


class _Untellable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_cannot_be_told_as_text_still_ends_its_run() -> None:
    assert error_text(_Untellable()) == "_Untellable: (its text is not told: RuntimeError)"
    assert json.loads(str(result_text({"x": _Untellable()}))).keys() == {"not_json"}


@pytest.fixture
def secret() -> Iterator[str]:
    """A secret of a configuration, which the configured log hides."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    configure_logging("INFO", "json")
    hide_secrets([told := 'pa"ss\\wört-1'])
    yield told
    root.handlers[:], root.level = before, level
    plain_logs.configure()


def test_results_and_errors_are_kept_without_known_secrets(secret: str) -> None:
    class Told:
        def __str__(self) -> str:
            return f"with {secret}"

    result = {"token": secret, secret: [f"x{secret}y\n", 1], "rows": 1, "told": Told()}
    hidden = {"token": "***", "***": ["x***y\n", 1], "rows": 1, "told": "with ***"}
    assert json.loads(str(result_text(result))) == hidden
    assert json.loads(str(result_text(secret.encode()))) == "b'***'"
    assert error_text(ValueError(repr(secret.encode()))) == "ValueError: b'***'"
    assert "wört" not in str(cleaned_fields({"event": "x", "names": {secret: secret.encode()}}))


@given(st.text(max_size=10_000))
def test_errors_are_kept_printable_and_cut(message: str) -> None:
    told = error_text(ValueError(message))
    assert told.startswith("ValueError") and told.isprintable() and len(told) <= 2000


def test_attempts_are_made_again_after_1_2_4_seconds_and_at_most_a_minute() -> None:
    assert [retry_s(attempt) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry_s(100) == 60


async def test_calls_made_meanwhile_go_together_and_each_gets_its_batchs_answer() -> None:
    gate, batches = Gate(), []

    async def work(items: list[int]) -> dict[int, int]:
        batches.append(items)
        await gate.passed()
        if 13 in items:
            raise ValueError("13")
        return {item: item * item for item in items}

    calls = Batches[int, dict[int, int]](work)
    first = asyncio.create_task(calls.call(1))
    await gate.wait_until_reached()
    others = [asyncio.create_task(calls.call(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)  # they are waiting now
    others[1].cancel()
    gate.open()
    assert (await first)[1] == 1
    assert (await others[0])[2] == 4 and (await others[2])[4] == 16
    assert batches == [[1], [2, 3, 4]]
    with pytest.raises(ValueError, match="13"):
        await calls.call(13)
    assert (await calls.call(5))[5] == 25
