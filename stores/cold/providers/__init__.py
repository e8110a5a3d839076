"""What providers told, in tables that keep each reading once; and how the providers did."""
