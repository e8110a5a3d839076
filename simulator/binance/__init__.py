"""Binance USD-M: all that the simulator knows of this one exchange."""
