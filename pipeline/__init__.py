"""Many runs: sweeps, plans, the tables and pages made from results."""
