"""Claim 8 of `docs/plan.md`: how much of the networks' saliency lies on animals' pixel masks.

`python -m pipeline.objects` measures and concludes; `shares` and `verdict` read what it has kept.
"""

from pipeline.objects.results import shares, verdict

__all__ = ["shares", "verdict"]
