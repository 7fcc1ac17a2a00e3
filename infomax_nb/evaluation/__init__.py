"""What is measured on frozen features, and how far a few runs' results can be trusted."""
