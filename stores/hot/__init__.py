"""The hot store (Redis or Valkey): its clients, leases, worker heartbeats and subscriptions."""
