"""How each store is asked, and run where none is configured."""
