"""Readers: a provider's answer, bytes, to records; they ask nobody and keep nothing."""
