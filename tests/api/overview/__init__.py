"""Tests of GET /status."""
