"""What the code of users imports; everything behind it is free to change."""
