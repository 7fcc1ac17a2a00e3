"""Geometric and arithmetic poly-view contrastive losses (PVC; Shidani et al. 2024).

Each positive p has a denominator of its own, in which other views of the image do not stand:
q_ip = exp(kappa s_ip) / ( exp(kappa s_ip) + sum_j exp(kappa s_ij) ), j over the views of other
images. Not here: the publication's loss of sufficient statistics. With two views both are ours.
"""

import math

from torch.nn.functional import logsigmoid

from infomax_nb.methods.many_views import ManyViews


class GeometricPVC(ManyViews):
    """-log of the geometric mean of q_ip over the V - 1 positives, the mean over all views i."""

    @staticmethod
    def of_pairs(positives, others):
        return -logsigmoid(positives - others).mean()


class ArithmeticPVC(ManyViews):
    """-log of the arithmetic mean of q_ip over the V - 1 positives, the mean over all views i."""

    @staticmethod
    def of_pairs(positives, others):
        log_sums = logsigmoid(positives - others).logsumexp(0)
        return math.log(len(positives)) - log_sums.mean()
