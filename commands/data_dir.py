"""The exchange addresses that filled a DATA_DIR, so that simulated and live data never mix."""

import json
import os
from typing import Final

from commands.errors import CannotStart, reason_of
from config import Settings
from venues import VENUES

_FILE: Final = "exchanges.json"


def remember_exchanges(settings: Settings) -> None:
    """Records in DATA_DIR the exchange addresses that fill it.

    Raises CannotStart when other addresses filled it, or when it cannot be written.
    """
    file = settings.data_dir / _FILE
    ours = {
        str(exchange): settings.base_url(exchange) or VENUES[exchange].base_url
        for exchange in settings.exchanges
    }
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        theirs: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        for exchange, address in ours.items():
            if theirs.get(exchange, address) != address:
                raise CannotStart(
                    f"DATA_DIR {settings.data_dir} was filled from {exchange} at "
                    f"{theirs[exchange]}, not {address}: set another DATA_DIR"
                )
        if theirs | ours != theirs:
            draft = file.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(theirs | ours, indent=1) + "\n")
            draft.replace(file)
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"DATA_DIR {settings.data_dir} cannot be used: {reason_of(error)}"
        ) from None
