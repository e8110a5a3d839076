"""Bybit v5 linear's simulated WebSockets."""
