"""Nodes of blockchains: which one is asked, at which block, and what may be asked of it."""
