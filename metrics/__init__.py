"""What each process counts about itself, and how it becomes one page."""
