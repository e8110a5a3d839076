"""Questions to many providers, for users' own code; re-exports only."""

from providers.access import (
    RPCLoadBalancer,
    close_providers,
    get_balance_with_fallback,
    get_gas_with_fallback,
    get_news_with_fallback,
    get_price_with_fallback,
    get_sentiment_with_fallback,
    hierarchical_config,
)
from providers.assets import UnknownAsset
from providers.breaker import BreakerState
from providers.collecting.collected import Collected
from providers.collecting.service import DataCollectorService
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, Tried
from providers.networks import UnknownNetwork
from providers.records import (
    Balance,
    ChainStats,
    GasPrice,
    NewsItem,
    Price,
    PriceKind,
    SentimentReading,
    WhaleTransfer,
)
from providers.resources import Level, Resource

__all__ = [
    "Balance",
    "BreakerState",
    "ChainStats",
    "Collected",
    "DataCollectorService",
    "ErrorClass",
    "GasPrice",
    "InvalidQuestion",
    "Level",
    "NewsItem",
    "NoAnswer",
    "Price",
    "PriceKind",
    "RPCLoadBalancer",
    "Resource",
    "SentimentReading",
    "Tried",
    "UnknownAsset",
    "UnknownNetwork",
    "WhaleTransfer",
    "close_providers",
    "get_balance_with_fallback",
    "get_gas_with_fallback",
    "get_news_with_fallback",
    "get_price_with_fallback",
    "get_sentiment_with_fallback",
    "hierarchical_config",
]
