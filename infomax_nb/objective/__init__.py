"""The parts of the objective: normaliser, tiled log-sum-exp, unit rows, checks, diagnostics."""

KAPPA = 10.0  # the default concentration; the paper names none for its main runs
KAPPA_MAX = 1e4  # the largest concentration that configurations allow and tests cover
