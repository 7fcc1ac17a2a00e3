"""Compute kernels written by hand: the objective's tiled log-sum-exp and its unit rows, the views' pixel arithmetic."""
