"""Assets over exchanges: which markets are of one asset, and the figures that only all give."""
