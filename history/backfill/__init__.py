"""Backfill: what is asked of the exchanges for the record, in which order, and what that costs."""
