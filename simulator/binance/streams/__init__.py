"""Binance USD-M's simulated WebSockets."""
