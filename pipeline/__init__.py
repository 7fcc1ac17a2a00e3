"""Work on many runs: sweeps, plans, and the tables and pages made from results."""
