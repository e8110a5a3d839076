"""What is known of the whole service, and what is wrong with it, in words for an operator."""
