"""Asking for what the agent wants, keeping what came, and telling what was saved."""
