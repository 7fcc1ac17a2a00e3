"""What is computed from trained networks, and from the objective where the truth is known."""
