"""Clients of the hot store (Redis) and the cold store (PostgreSQL), and the embedded servers."""
