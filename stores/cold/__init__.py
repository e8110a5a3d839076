"""The cold store (PostgreSQL): its connection pool, its migrations, and the queries by table."""
