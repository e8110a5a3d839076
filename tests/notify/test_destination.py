"""One address of NOTIFY_URLS and several, against real receivers: those that take, refuse, hang."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from addresses.notify_urls import secrets_in_notify_url, split_notify_urls
from notify.destination import MOST_WAITING, Destination, WrongUrl
from notify.outbox import Outbox
from notify.texts import Text
from tests.notify.receiver import Receiver, receiving

SECRETS = ("Qz7-Xwkf9", "Tk3nVxqjZw81", "Hk5Kqxz20Wvjq")


def text(title: str = "title") -> Text:
    return Text(title, "what is wrong\nwhat to do", "warning")


def with_secrets(receiver: Receiver) -> str:
    """An address with secrets in its userinfo, its path and its query."""
    password, token, header = SECRETS
    return f"json://me:{password}@127.0.0.1:{receiver.port}/{token}/?+X-Key={header}"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_message_arrives_as_it_was_written(receiver: Receiver) -> None:
    assert await Destination(receiver.url, 1).send(text()) is None
    (body,) = receiver.taken
    assert (body["title"], body["type"]) == ("title", "warning")
    assert body["message"] == "what is wrong\nwhat to do"


async def test_a_refused_message_is_sent_again_and_then_given_up(receiver: Receiver) -> None:
    receiver.status = 500
    destination = Destination(receiver.url, 1, pauses_s=(0.01, 0.01))
    why = await destination.send(text())
    assert why is not None and "500" in why
    assert len(receiver.asked) == 3
    receiver.status = 200
    assert await destination.send(text("the next")) is None
    assert receiver.titles == ["the next"]


async def test_a_message_that_is_refused_once_arrives(receiver: Receiver) -> None:
    receiver.status = 503
    destination = Destination(receiver.url, 1, pauses_s=(0.2, 10.0))
    sending = asyncio.create_task(destination.send(text()))
    await receiver.until(1, asked=True)
    receiver.status = 200
    assert await sending is None
    assert receiver.titles == ["title"]


async def test_a_hanging_service_holds_up_nobody(receiver: Receiver, other: Receiver) -> None:
    receiver.hangs = True
    hanging = Destination(receiver.url, 1, deadline_s=0.2, pauses_s=())
    outbox = Outbox([hanging, Destination(other.url, 2)])
    await Destination(other.url, 3).send(text("apprise is loaded"))
    began = time.monotonic()
    for number in range(3):
        assert await outbox.send(text(f"{number}"))
    assert other.titles[1:] == ["0", "1", "2"]
    assert time.monotonic() - began < 10
    # Its thread is busy: nothing else is begun there.
    assert await hanging.attempt(text()) == "the service has not answered the message before"
    assert len(receiver.asked) == 1
    await outbox.aclose()


async def test_a_service_that_takes_its_time_gets_a_message_once(receiver: Receiver) -> None:
    receiver.hangs = True
    destination = Destination(receiver.url, 1, pauses_s=(0.0,))
    try:
        sending = asyncio.create_task(destination.send(text()))
        await receiver.until(1, asked=True)
        await asyncio.sleep(4.5)  # longer than apprise waits by itself
        receiver.release()
        assert await sending is None
    finally:
        await destination.aclose()
    assert len(receiver.asked) == 1


async def test_of_what_waits_for_a_slow_service_the_newest_is_kept(receiver: Receiver) -> None:
    receiver.hangs = True
    destination = Destination(receiver.url, 1, deadline_s=60)
    first = asyncio.create_task(destination.send(text("first")))
    await receiver.until(1, asked=True)
    waiting = [
        asyncio.create_task(destination.send(text(f"{number}"))) for number in range(MOST_WAITING)
    ]
    await asyncio.sleep(0)
    last = asyncio.create_task(destination.send(text("last")))
    dropped = await waiting[0]
    assert dropped is not None and dropped.startswith("dropped")
    receiver.release()
    assert await asyncio.gather(first, *waiting[1:], last) == [None] * (MOST_WAITING + 1)
    expected = ["first", *map(str, range(1, MOST_WAITING)), "last"]
    assert receiver.titles == expected


async def test_nobody_took_it(receiver: Receiver, other: Receiver) -> None:
    receiver.status = other.status = 500
    outbox = Outbox([Destination(each.url, 1, pauses_s=()) for each in (receiver, other)])
    assert not await outbox.send(text())
    assert not await Outbox().send(text())


async def test_who_did_not_take_a_message_gets_it_later_and_in_order(
    receiver: Receiver, other: Receiver
) -> None:
    receiver.status = 500
    outbox = Outbox(
        [Destination(each.url, 1, pauses_s=(), retries_s=(0.1, 0.1)) for each in (receiver, other)]
    )
    try:
        titles = ["begun", "again", "over"]
        for title in titles:
            assert await outbox.send(text(title))
        assert other.titles == titles
        # What nobody took is told again by who watches, and not kept here.
        other.status = 500
        assert not await outbox.send(text("nobody took it"))
        other.status = 200
        await receiver.until(len(receiver.asked) + 1, asked=True)
        receiver.status = 200
        await receiver.until(3)
        assert await outbox.send(text("the next"))
        await receiver.until(4)
        assert receiver.titles == [*titles, "the next"]
        assert other.titles == [*titles, "the next"]
    finally:
        await outbox.aclose()


async def test_no_secret_is_in_a_log_or_an_error(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for status in (200, 401, 500):
        receiver.status = status
        receiver.told = " ".join(SECRETS)
        outbox = Outbox([Destination(with_secrets(receiver), 1, pauses_s=(0.0,))])
        await outbox.send(text())
        said.append(str(await outbox.destinations[0].attempt(text())))
        said.append(outbox.destinations[0].name)
    # They were sent, where they belong.
    assert SECRETS[1] in receiver.asked[0][1]
    closed = Destination(f"json://me:{SECRETS[0]}@127.0.0.1:1/{SECRETS[1]}", 1, pauses_s=())
    said.append(str(await closed.send(text())))
    for wrong in (f"nothing://{SECRETS[1]}", f"slack://{SECRETS[1]}"):
        with pytest.raises(WrongUrl) as caught:
            Destination(wrong, 1).check()
        said.append(f"{caught.value!r}")
    out, err = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    lines = "\n".join([*said, *ours, out, err])
    assert "401" in lines
    assert [secret for secret in SECRETS if secret in lines] == []


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("json://a", ["json://a"]),
        ("json://a json://b\n tgram://c/d", ["json://a", "json://b", "tgram://c/d"]),
        (
            "json://a, ntfys://b/?tags=x,y , json://c",
            ["json://a", "ntfys://b/?tags=x,y", "json://c"],
        ),
        ("mailto://u:p,w@h;json://b", ["mailto://u:p,w@h", "json://b"]),
    ],
)
def test_addresses_are_told_apart(given: str, urls: list[str]) -> None:
    assert list(split_notify_urls(given)) == urls


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("hello", "the 1st of 1 is not an address"),
        ("json://a, json://", "the 2nd of 2 is not an address"),
        ("json://a, hello there", "the 1st of 1"),
        ("tgram://a/b json://se cret", "the 2nd of 2 .json://….* has a space"),
        (" ".join(["json://a"] * 21), "21 addresses"),
    ],
)
def test_wrong_addresses_are_named_by_their_place(given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        split_notify_urls(given)
    assert "hello" not in str(caught.value) and "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hidden", "shown"),
    [
        ("tgram://123456789:AbCdEf_gh/1234567", ["123456789:AbCdEf_gh"], ["1234567"]),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl1/#ops", ["T1JJ3T3L2", "TIiajkdnl1"], ["#ops"]),
        ("mailto://me:pass@mail.example.org", ["pass"], ["me", "mail.example.org"]),
        ("ntfys://tk_abc12345@ntfy.example.org/ops", ["tk_abc12345"], ["ntfy.example.org"]),
        ("json://h.example:8080/hook/Ab123456?k=Zz%2F98765", ["Ab123456", "Zz/98765"], ["hook"]),
    ],
)
def test_what_is_secret_of_an_address(url: str, hidden: list[str], shown: list[str]) -> None:
    secrets = set(secrets_in_notify_url(url))
    assert {url, *hidden} <= secrets
    assert secrets.isdisjoint(shown)
