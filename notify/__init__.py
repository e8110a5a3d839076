"""What is told to whom: problems of the service, at their beginning, once more and at their end."""
