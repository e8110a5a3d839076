"""Many providers of one fact: chains of resources, breakers, budgets, health and usage."""
