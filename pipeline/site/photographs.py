"""Draw where committed networks look in photographs, as the paper's Figures 1 and 2 do."""

import torch
from matplotlib.figure import Figure

from infomax_nb.analysis.saliency import maps
from infomax_nb.data import ImageSet, photographs
from infomax_nb.evaluation.probe import untrained
from infomax_nb.networks import available, pretrained
from infomax_nb.plots import overlay


def draw(backbone: str) -> Figure:
    """Six photographs, and below them the maps of our network and of the same one untrained."""
    album = photographs.shipped()
    pictures = [photograph.pixels for photograph in album.shown]
    network = pretrained(network_of(backbone))
    squares = ImageSet(album.squares, torch.zeros(len(pictures)), ["photograph"])
    nets = {"trained": network.backbone, "untrained": untrained(network.config, squares)}
    rows = {}
    for name, net in nets.items():
        rows[name] = [maps(net, picture[None], "cpu")[0] for picture in pictures]
    return overlay(pictures, rows)


def network_of(backbone: str) -> str:
    """The committed network of our method that is drawn: the last one by name."""
    return max(available(method="infomax", backbone=backbone))
