"""Decoupled contrastive learning (Yeh et al. 2021), for any number of views."""

from infomax_nb.methods.many_views import ManyViews


class DCL(ManyViews):
    """Ours with the global density taken over other images alone (Eq. 6, without weights).

    -log( sum_p exp(kappa s_ip) / sum_j exp(kappa s_ij) ), j over the views of other images; the
    mean over all views i. The publication has two views and so one p; with more, p are in one sum,
    as in ours.
    """

    @staticmethod
    def of_pairs(positives, others):
        return (others - positives.logsumexp(0)).mean()
