"""docs/notifications.md: its message is the one that is sent, apprise knows its addresses."""

import asyncio
import re
from typing import Final

import pytest

from addresses.notify_urls import split_notify_urls
from commands import notify_test
from commands.notify_part import destinations_of, writer_of
from config import load_settings
from main import build_parser
from notify.decisions import Message, Reason, Sending
from notify.destination import Destination
from notify.record import Known
from status.problem import Problem, ProblemKind, Severity
from tests.docs.blocks import ROOT, claim
from tests.notify.receiver import receiving

_PAGE: Final = "docs/notifications.md"
_MESSAGE = claim(_PAGE, "[critical]")
_SETTINGS = claim(_PAGE, "PUBLIC_URL=")
_COMMAND = claim(_PAGE, "python main.py notify-test")
_OUTPUT = claim(_PAGE, "not taken: ")
_HEARTBEAT = claim(_PAGE, "HEARTBEAT_URL=")
_STANDS_FOR: Final = {
    "BOT_TOKEN": "123456789:" + "Ab3" * 12,
    "CHAT_ID": "12315544",
    "TOKEN_A": "T1JJ3T3L2",
    "TOKEN_B": "A1BRTD4JD",
    "TOKEN_C": "TIiajkdnlazkcOXrIdevi7FQ",
    "TOPIC": "topic",
    "TOKEN": "tk_abcdefghijkl",
    "WEBHOOK_ID": "4" * 18,
    "WEBHOOK_TOKEN": "Ab3" * 20,
    "USER_KEY": "u" * 30,
    "APP_TOKEN": "a" * 30,
    "USER": "me",
    "PASSWORD": "pw",
    "HOST:PORT": "127.0.0.1:80",
}
_WORDS: Final = re.compile("|".join(sorted(_STANDS_FOR, key=len, reverse=True)))


def filled(address: str) -> str:
    return _WORDS.sub(lambda found: _STANDS_FOR[found[0]], address)


def settings_in(text: str) -> dict[str, str]:
    found = re.findall(r'^([A-Z_]+)="?(.*?)"?$', text, re.MULTILINE)
    return {name.lower(): filled(value) for name, value in found}


def test_the_message_is_the_one_that_is_sent() -> None:
    at_ms = 1_795_183_500_000  # 14:05 UTC
    problem = Problem(
        ProblemKind.EXCHANGE_BANNED,
        "binance",
        Severity.CRITICAL,
        "binance has banned this address for 290 s more, until 2026-11-20T14:09:50Z: HTTP 418, way"
        " too many requests",
        "Wait, and lower RATE_FRACTION or end other programs at this address.",
    )
    message = Message(Reason.BEGUN, [Sending(Reason.BEGUN, Known(problem, at_ms))])
    writer = writer_of(load_settings(**settings_in(_SETTINGS.text)))
    text = writer.text_of(message, at_ms)
    assert f"{text.title}\n{text.body}\n" == _MESSAGE.text


def test_apprise_knows_every_address_of_the_page() -> None:
    page = (ROOT / _PAGE).read_text(encoding="utf-8")
    table = re.findall(r"`([a-z]+://[^`…]+)`", page)
    assert len(table) >= 8
    settings = load_settings(**settings_in(_SETTINGS.text))
    for number, address in enumerate(table, start=1):
        Destination(filled(address), number).check()
    destinations = destinations_of(settings)
    assert len(destinations) == len(split_notify_urls(settings_in(_SETTINGS.text)["notify_urls"]))
    for destination in destinations:
        destination.check()
    assert load_settings(**settings_in(_HEARTBEAT.text)).heartbeat_url is not None


async def test_the_command_tells_of_each_address(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with receiving() as taking, receiving() as refusing:
        refusing.status = 401
        urls = f"{taking.url}, ntfy://127.0.0.1:{refusing.port}/my-alerts"
        arguments = build_parser().parse_args(_COMMAND.text.split()[2:])
        assert arguments.command == "notify-test"
        code = await notify_test.run(load_settings(notify_urls=urls), asyncio.Event(), arguments)
    out, err = capfd.readouterr()
    told = {re.sub(r"\w+://…", "_", line) for line in _OUTPUT.text.splitlines()}
    assert {re.sub(r"\w+://…", "_", line) for line in out.splitlines()} == told, err
    assert code == 1
    assert [body["title"].partition("]")[0] for body in taking.taken] == ["[test"]
