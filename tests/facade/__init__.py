"""Tests of facade/."""
