"""The simulated Binance USD-M: its paths, limits, markets and formats."""
