"""GET /cache/<name>: its parameters, the documents in memory, validators and long polls."""
