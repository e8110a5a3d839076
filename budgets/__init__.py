"""Rate limits of the exchanges, and the HTTP client that keeps to them."""
