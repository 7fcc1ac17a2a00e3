"""What the objective is made of: the kernel's normaliser, the tiled log-sum-exp, unit rows,
diagnostics."""

KAPPA_MAX = 1e4  # the largest concentration that configurations admit and tests cover
