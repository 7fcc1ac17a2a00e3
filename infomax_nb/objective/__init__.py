"""What the objective is made of: the kernel's normaliser, the tiled log-sum-exp, unit rows,
diagnostics."""
