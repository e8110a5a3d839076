"""Tests of WebSocket workers: shared by leases, connected anew, fenced, and read back."""
