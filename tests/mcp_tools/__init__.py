"""The tools for language models, asked by the clients of their SDK."""
