"""What Redis is asked: clients, leases, scripts, news of publishes. No HTTP, no exchanges."""
