"""perpcache_client: reads a service of Perpcache, as tables, from plain and from async code."""

from perpcache_client.async_client import AsyncClient
from perpcache_client.errors import (
    BadAnswer,
    InvalidRequest,
    JobFailed,
    MissingPackage,
    NotFound,
    PerpcacheError,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
)
from perpcache_client.overviews import Asset, AssetMarket, MarketOfAsset, Overview
from perpcache_client.records import Job, Market, Missing, Run
from perpcache_client.sync_client import Client
from perpcache_client.table import Table

__all__ = [
    "Asset",
    "AssetMarket",
    "AsyncClient",
    "BadAnswer",
    "Client",
    "InvalidRequest",
    "Job",
    "JobFailed",
    "Market",
    "MarketOfAsset",
    "Missing",
    "MissingPackage",
    "NotFound",
    "Overview",
    "PerpcacheError",
    "Run",
    "ServiceUnavailable",
    "Table",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
]
