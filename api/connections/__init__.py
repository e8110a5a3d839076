"""HTTP connections below the ASGI application: the server, its protocol and its limits."""
