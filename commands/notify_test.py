"""`notify-test`: sends a test message to each address of NOTIFY_URLS, and tells which took it."""

import argparse
import asyncio

from commands.errors import EXIT_COMPLETE, EXIT_FAILED
from commands.notify_part import destinations_of, writer_of
from commands.runtime import cancelled_by
from commands.terminal import say
from config import Settings, SettingsError
from notify.destination import Destination, WrongUrl
from notify.texts import Text


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Checks the addresses and sends, or checks them alone; 1 if a service did not take its
    message. Raises SettingsError without NOTIFY_URLS, and for addresses that apprise does not
    know: nothing is sent then."""
    destinations = destinations_of(settings)
    if not destinations:
        raise SettingsError(
            ["NOTIFY_URLS: is not set, so nobody is told of problems (docs/notifications.md)"]
        )
    check(destinations)
    if arguments.check:
        say(f"apprise knows all {len(destinations)} of NOTIFY_URLS; nothing was sent")
        return EXIT_COMPLETE
    return await cancelled_by(stop, _send(destinations, writer_of(settings).test_text()))


def check(destinations: list[Destination]) -> None:
    """Raises SettingsError with a line for each address that apprise does not know."""
    wrong = []
    for destination in destinations:
        try:
            destination.check()
        except WrongUrl as error:
            wrong.append(f"NOTIFY_URLS: {destination.name}: {error}")
    if wrong:
        raise SettingsError(wrong)


async def _send(destinations: list[Destination], text: Text) -> int:
    async def sent(destination: Destination) -> bool:
        why = await destination.attempt(text)
        say(f"{destination.name}: {'taken' if why is None else f'not taken: {why}'}")
        return why is None

    ends = await asyncio.gather(*map(sent, destinations))
    return EXIT_COMPLETE if all(ends) else EXIT_FAILED
