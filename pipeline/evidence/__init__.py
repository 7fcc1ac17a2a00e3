"""The runs of `docs/plan.md`: what they are, the queue that trains them, what follows from them."""
