"""/api/collectors: what is wanted of the live collectors, what they do, and how that is changed."""
