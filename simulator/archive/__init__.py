"""Binance's public archive of files (data.binance.vision), made from the simulated markets."""
