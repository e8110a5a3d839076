"""Embedded Valkey and PostgreSQL servers, used when no external store is configured."""
