"""The runs of `docs/plan.md`: their list, the queue that trains them, and their verdicts."""
