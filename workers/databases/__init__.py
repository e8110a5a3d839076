"""Users' own databases over SQLAlchemy: declared by @database, written to in units of work."""
