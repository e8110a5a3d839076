"""Many providers of one fact: chains of resources, breakers, budgets, health and usage; the
registry holds the resources as data."""
