"""Valkey and PostgreSQL as our own processes; stores.py is the way in."""
