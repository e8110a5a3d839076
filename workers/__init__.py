"""Scheduled and WebSocket workers: their schedules, runs on the engine, configuration and log."""
