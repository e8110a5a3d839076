"""The HTTP API: routes, answers, middleware, documents and connections."""
