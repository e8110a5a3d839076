"""The simulated OKX v5: its paths, limits, instruments and formats."""
