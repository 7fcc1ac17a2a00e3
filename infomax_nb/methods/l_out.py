"""L_out of supervised contrastive learning (Khosla et al. 2020), each image its own class."""

import torch

from infomax_nb.methods.many_views import ManyViews


class LOut(ManyViews):
    """The mean over an image's views outside the logarithm (Eq. 2), where ours has it inside.

    -1/|P(i)| sum_p log( exp(kappa s_ip) / sum_{j != i} exp(kappa s_ij) ), the mean over all views
    i. The publication sums over i and calls 1/kappa the temperature. With two views it is ours.
    """

    @staticmethod
    def of_pairs(positives, others):
        every = torch.logaddexp(positives.logsumexp(0), others)
        return (every - positives.mean(0)).mean()
