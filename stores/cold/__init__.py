"""Connections and migrations of PostgreSQL; the SQL about markets is in `database`."""
