"""Prometheus metrics: what API processes and workers count, and the text of GET /metrics."""
