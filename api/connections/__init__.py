"""What happens below the application: connections, their limits, their bytes."""
