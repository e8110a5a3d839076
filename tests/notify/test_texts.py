"""The texts of messages, as a phone shows them."""

from dataclasses import replace

from notify.decisions import Message, Reason, Sending
from notify.record import Known
from notify.texts import Writer
from tests.notify.problems import BANNED, STALE, problem

AT_MS = 1_795_183_500_000  # 2026-11-20 14:05 UTC
HOUR = 3_600_000
WRITER = Writer("live-1", "https://perpcache.example.org/app")


def message(*sendings: Sending) -> Message:
    reason = sendings[0].reason if len(sendings) == 1 else Reason.DIGEST
    return Message(reason, sendings)


def test_a_beginning() -> None:
    known = Known(replace(BANNED, since_ms=AT_MS - 20 * HOUR), AT_MS)
    text = WRITER.text_of(message(Sending(Reason.BEGUN, known)), AT_MS)
    assert (text.title, text.level) == ("[critical] live-1: exchange banned: binance", "failure")
    assert text.body.splitlines() == [
        "binance has banned this address for 290 s more",
        "Since 2026-11-19 18:05 UTC (20 h 0 min).",
        "What to do: Look after binance.",
        "Look: https://perpcache.example.org/app/ui/",
    ]


def test_an_end_tells_how_long_it_was() -> None:
    known = Known(STALE, AT_MS - 100 * 60_000, over_ms=AT_MS)
    text = Writer("live-1").text_of(message(Sending(Reason.ENDED, known)), AT_MS + 60_000)
    assert (text.title, text.level) == ("[over] live-1: markets stale: bybit", "success")
    assert text.body.splitlines() == [
        "Over: it lasted 1 h 40 min, from 12:25 UTC to 14:05 UTC.",
        "It was: 12 markets of bybit are stale",
    ]


def test_what_lasts_and_what_got_worse_say_so() -> None:
    lasts = message(Sending(Reason.AGAIN, Known(STALE, AT_MS)))
    worse = message(Sending(Reason.WORSE, Known(BANNED, AT_MS)))
    assert WRITER.text_of(lasts, AT_MS).title.startswith("[still warning] ")
    assert WRITER.text_of(worse, AT_MS).title.startswith("[now critical] ")


def test_a_digest_is_bounded() -> None:
    many = [
        Sending(Reason.BEGUN, Known(problem(subject=f"m{number}", text="x" * 2000), AT_MS))
        for number in range(400)
    ]
    over = [Sending(Reason.ENDED, Known(STALE, AT_MS - HOUR, over_ms=AT_MS))]
    text = WRITER.text_of(message(*many, *over), AT_MS)
    assert text.title == "[critical] live-1: 400 problems, 1 over"
    assert len(text.body) < 6000
    assert "- and 381 more" in text.body.splitlines()
    only = WRITER.text_of(message(over[0], over[0]), AT_MS)
    assert (only.title, only.level) == ("[over] live-1: 2 over", "success")
