"""The cold store (PostgreSQL): connections, migrations, and one repository per noun."""
