"""Tools of the Model Context Protocol: read-only questions to a running service, over its HTTP API.

What a tool answers is bounded, says how old it is and what is missing, and never leaves its route.
"""
