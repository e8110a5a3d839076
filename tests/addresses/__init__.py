"""Tests of addresses/: what is accepted, what is refused, and what a refusal tells."""
