"""The HTTP surface, room by room; `api_routes` puts it together."""
