"""The routes of providers, over simulated ones."""
