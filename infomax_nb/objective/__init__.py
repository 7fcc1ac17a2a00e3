"""What the objective is made of: normaliser, tiled log-sum-exp, unit rows, checks, diagnostics."""

KAPPA = 10.0  # the concentration where nobody says another: the paper's choice (Figure 4)
KAPPA_MAX = 1e4  # the largest concentration that configurations admit and tests cover
