"""The two stores that are looked at, as every process has them among its parts."""

from typing import Protocol

from database import Database
from stores.hot.store import HotStore


class Stores(Protocol):
    """The hot store and the database."""

    @property
    def store(self) -> HotStore: ...

    @property
    def database(self) -> Database: ...
