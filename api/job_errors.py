"""The error of a job as answers tell it: if a store's error ended it, without addresses."""

from typing import Final

from texts.hidden_addresses import without_addresses

_OF_STORES: Final = ("redis: ", "upstash: ", "the database ")


def told_error(error: str | None) -> str | None:
    """A job's error; without addresses if a store's error ended the job."""
    if error is not None and error.startswith(_OF_STORES):
        return without_addresses(error)
    return error
