"""Live collectors for the code of users: built-in ones, the framework, types; re-exports only."""

from config import LiveSettings, SettingsError, load_live_settings
from live.builtin import (
    BinanceCollector,
    BybitCollector,
    OKXCollector,
    create_collector,
)
from live.collector import BaseDataCollector
from live.data_types import (
    CollectorConfig,
    CollectorStatus,
    DataType,
    DataValidationError,
    MarketDataPoint,
    OHLCVData,
)
from live.log_files import get_logger
from live.manager import CollectorManager
from metrics.collectors import CollectorMetrics

__all__ = [
    "BaseDataCollector",
    "BinanceCollector",
    "BybitCollector",
    "CollectorConfig",
    "CollectorManager",
    "CollectorMetrics",
    "CollectorStatus",
    "DataType",
    "DataValidationError",
    "LiveSettings",
    "MarketDataPoint",
    "OHLCVData",
    "OKXCollector",
    "SettingsError",
    "create_collector",
    "get_logger",
    "load_live_settings",
]
