"""Valkey and PostgreSQL as our own processes; `embedded_stores` is the way in."""
