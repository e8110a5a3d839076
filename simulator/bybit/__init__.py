"""The simulated Bybit v5 linear: its paths, limit, markets and formats."""
