"""Follows GET /events and prints each event, through any break: `python follow_events.py URL`."""

import http.client
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any


def follow(address: str, **headers: str) -> Iterator[tuple[str, Any]]:
    """Yields (event, data) for good; it goes on where it was after any break."""
    last_id = ""
    while True:
        sent = headers | {"Last-Event-ID": last_id}
        request = urllib.request.Request(address, headers=sent)  # noqa: S310 - yours
        try:
            # A comment comes every 15 s.
            with urllib.request.urlopen(request, timeout=40) as stream:  # noqa: S310 - yours
                event: dict[str, str] = {}
                for line in stream:
                    name, _, value = line.decode().rstrip("\n").partition(":")
                    if name == "id":
                        last_id = value.strip()
                    elif name:
                        event[name] = value.strip()
                    else:  # a blank line ends an event; a comment has an empty name, too
                        if "data" in event and not line.strip():
                            yield event["event"], json.loads(event["data"])
                        event = event if line.strip() else {}
        except (OSError, http.client.HTTPException) as error:
            print(f"again in 2 s: {error}", file=sys.stderr)
        time.sleep(2)


if __name__ == "__main__":
    for event, data in follow(sys.argv[1]):
        print(event, data, flush=True)
