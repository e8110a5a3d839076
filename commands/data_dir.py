"""The exchange addresses that filled a DATA_DIR, so that simulated and live data never mix."""

import json
import os
from pathlib import Path
from typing import Final

from addresses.web import without_userinfo
from commands.errors import CannotStart, reason_of
from config import Settings

_FILE: Final = "exchanges.json"
_MODE: Final = 0o600


def remember_exchanges(settings: Settings) -> None:
    """Records in DATA_DIR the exchange addresses that fill it, without user and password.

    Raises CannotStart when other addresses filled it, or when it cannot be written.
    """
    file = settings.data_dir / _FILE
    ours = settings.exchange_addresses()
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        written = _read(file)
        # Earlier releases wrote the password of an address too.
        theirs = {exchange: without_userinfo(address) for exchange, address in written.items()}
        for exchange, address in ours.items():
            if theirs.get(exchange, address) != address:
                raise CannotStart(
                    f"DATA_DIR {settings.data_dir} was filled from {exchange} at "
                    f"{theirs[exchange]}, not {address}: set another DATA_DIR"
                )
        if theirs | ours != written or file.stat().st_mode & 0o077:
            _write(file, theirs | ours)
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"DATA_DIR {settings.data_dir} cannot be used: {reason_of(error)}"
        ) from None


def _read(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(at, str) for at in content.values()):
        # What it holds is not repeated, because it may be a password.
        raise ValueError(f"{file.name} is damaged: remove it if the data is of these exchanges")
    return content


def _write(file: Path, addresses: dict[str, str]) -> None:
    draft = file.with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as open_draft:
        open_draft.write(json.dumps(addresses, indent=1) + "\n")
    draft.replace(file)
