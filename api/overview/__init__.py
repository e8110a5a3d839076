"""GET /status: one JSON truth of documents, exchanges, streams, jobs, stores and processes."""
