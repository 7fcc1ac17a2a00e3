"""Saliency on constructed networks whose maps are known, and its measures on maps made by hand."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, interpolate

from infomax_nb.analysis.saliency import (
    attention,
    coverage,
    inside,
    interval,
    maps,
    smooth_grad_cam,
)
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.representation import inputs
from infomax_nb.models import backbone


def pictures(n: int, *size: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


# --- Grad-CAM -------------------------------------------------------------------------------------


class Quadrant(nn.Module):
    """A fixed 1×1 convolution, everything but one quadrant of its map set to zero, then the mean
    over the map."""

    calls: list = []  # the inputs, of copies too

    def __init__(self, down: int, right: int):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.map = nn.Identity()
        self.down = down
        self.right = right
        nn.init.constant_(self.conv.weight, 1.0)

    def window(self, x):
        window = torch.zeros(x.shape[-2:])
        (height, width) = (n // 2 for n in x.shape[-2:])
        window[self.down * height :, self.right * width :][:height, :width] = 1
        return window

    def forward(self, x):
        self.calls.append(x.detach().clone())
        return self.map(self.conv(x) * self.window(x)).mean((2, 3))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_a_network_that_looks_at_one_quadrant(down, right, noise):
    net = Quadrant(down, right)
    images = torch.full((3, 3, 16, 24), 255, dtype=torch.uint8)
    images[:, :, ::4, ::4] = 0  # so that the input has a range, and the noise a scale
    found = maps(net, images) if noise else smooth_grad_cam(net, images, "map", 0)
    quarter = net.window(images)
    assert found.shape == (3, 16, 24)
    assert found.min() == 0
    assert found.max() <= 1
    assert (found * (1 - quarter)).sum() == 0
    if not noise:
        assert torch.allclose(found, quarter * (images[:, 0] > 0), atol=1e-5)
    result = inside(found, quarter.expand(3, -1, -1))
    assert np.allclose(result.ratio, 4)
    assert (result.hit == 100).all()
    assert np.allclose(result.area, 25)


def test_grad_cam_is_the_formula():
    """ReLU(sum_k w_k A_k), w_k the mean of d(z.z')/dA_k over the map, in float64; one copy, no
    noise."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, 5, 3, 1, 1))
    net = nn.Sequential(
        body, nn.Sequential(nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 7))
    )
    images = pictures(4, 32, 32)
    found = smooth_grad_cam(net, images, "0", noise=0, copies=1)

    twin = net.double()
    x = next(inputs(images)).double()
    areas = twin[0](x).detach().requires_grad_()
    z = twin[1](areas)
    (gradient,) = torch.autograd.grad((z * z.detach()).sum(), areas)
    cam = (gradient.mean((2, 3), keepdim=True) * areas).sum(1).clamp(min=0)
    low = cam.amin((1, 2), keepdim=True)
    high = cam.amax((1, 2), keepdim=True)
    large = interpolate(((cam - low) / (high - low))[:, None], (32, 32), mode="bilinear")[:, 0]
    low = large.amin((1, 2), keepdim=True)
    high = large.amax((1, 2), keepdim=True)
    assert torch.allclose(
        found.double(), (large - low) / (high - low), atol=2e-4
    )  # OpenCV's weights have 11 bits
    assert found.std() > 0.1

    areas = areas.detach().requires_grad_()
    z = twin[1](areas)
    cosine = torch.autograd.grad(cosine_similarity(z, z.detach()).sum(), areas)[0]
    assert (
        cosine.abs().max() < 1e-12 < 1e-3 < gradient.abs().max()
    )  # why the target is not the cosine


def test_the_mean_is_over_noisy_copies():
    """The maps of `Quadrant` in closed form, from the noisy inputs that it has seen; 70 images are
    two batches."""
    net = Quadrant(0, 1)
    images = pictures(70, 8, 8)
    Quadrant.calls.clear()
    found = smooth_grad_cam(net, images, "map", noise=0.2, copies=25, seed=3)
    seen = [[c for c in Quadrant.calls if len(c) == n] for n in (64, 6)]
    assert [len(calls) for calls in seen] == [25, 25]
    noisy = torch.cat([torch.stack(calls) for calls in seen], 1)
    area = noisy.sum(2) * net.window(images)  # both channels are the same
    cam = (area * area.mean((2, 3), keepdim=True)).clamp(min=0)
    assert torch.allclose(found, (cam / cam.amax((2, 3), keepdim=True)).mean(0), atol=1e-4)

    clean = torch.cat(list(inputs(images)))
    scale = (noisy - clean).std((0, 2, 3, 4)) / (clean.amax((1, 2, 3)) - clean.amin((1, 2, 3)))
    assert torch.allclose(scale, torch.tensor(0.2), rtol=0.06)
    assert abs(scale.mean() - 0.2) < 0.002
    assert all((noisy[k] != noisy[0]).float().mean() > 0.999 for k in range(1, 25))
    assert torch.equal(found, smooth_grad_cam(net, images, "map", noise=0.2, copies=25, seed=3))
    assert not torch.equal(found, smooth_grad_cam(net, images, "map", noise=0.2, copies=25, seed=4))


@pytest.mark.parametrize(
    ("name", "stem", "size", "layer"),
    [
        ("resnet_small", "imagenet", 32, "layer1"),
        ("resnet_small", "small", 32, "layer2"),
        ("resnet_small", "imagenet", 64, "layer2"),
        ("resnet_small", "small", 64, "layer3"),
        ("resnet18", "small", 32, "layer3"),
        ("resnet18", "imagenet", 96, "layer2"),
    ],
)
def test_the_default_layer_is_the_deepest_of_at_least_8x8(name, stem, size, layer):
    net = backbone(name, stem, size)
    images = pictures(1, size, size)
    found = smooth_grad_cam(net, images, copies=1)
    assert torch.equal(found, smooth_grad_cam(net, images, layer, copies=1))
    assert not torch.equal(found, smooth_grad_cam(net, images, "act1", copies=1))


def test_layers_without_a_map():
    net = backbone("resnet_small")
    images = pictures(2, 32, 32)
    with pytest.raises(
        ParameterError, match=r"layer = 'layer4' .* larger than 1×1.* layer1 8×8.* layer4 1×1\.$"
    ):
        smooth_grad_cam(net, images, "layer4")
    with pytest.raises(ParameterError, match=r"layer = 'layer9' .* act1 16×16, layer1 8×8"):
        smooth_grad_cam(net, images, "layer9")
    with pytest.raises(
        ParameterError, match=r"layer = None .* at least 8×8.* act1 4×4, layer1 2×2"
    ):
        smooth_grad_cam(net, pictures(2, 8, 8))
    assert smooth_grad_cam(net, images, "layer3", copies=1).std() > 0.1  # 2×2 are few, but not one


def test_the_network_is_left_as_it_was():
    net = backbone("resnet_small").train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    smooth_grad_cam(net, pictures(2, 32, 32), copies=1)
    assert net.training
    assert all(m.training for m in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    vit = backbone("vit_mini")
    attention(vit, pictures(2, 32, 32))
    assert vit.training
    assert all(p.requires_grad for p in vit.parameters())
    assert {b.attn.fused_attn for b in vit.blocks} == {
        backbone("vit_mini").blocks[0].attn.fused_attn
    }


# --- attention ------------------------------------------------------------------------------------

HEADS = 2
BLOCKS = 3
WIDTH = 8
PATTERN = torch.tensor([1.0, -1.0]).repeat(
    WIDTH // 2
)  # mean 0, variance 1: LayerNorm leaves it and its negative


def vit_by_hand(lit: torch.Tensor, strength: torch.Tensor, registers: int) -> nn.Module:
    """A ViT that ignores its input, whose attention is known.

    Tokens are +PATTERN where `lit` (rows, columns), else -PATTERN, in every block, for all that
    blocks add is zero. In block b, head h, each query is a bias, such that its product with a
    token's key is ±`strength[b, h]`.
    """
    size = tuple(4 * n for n in lit.shape)
    shape = {
        "embed_dim": WIDTH,
        "depth": BLOCKS,
        "num_heads": HEADS,
        "patch_size": 4,
        "img_size": size,
    }
    net = timm.models.VisionTransformer(
        **shape, num_classes=0, reg_tokens=registers, no_embed_class=True
    )
    with torch.no_grad():
        for parameter in (p for n, p in net.named_parameters() if "norm" not in n):
            parameter.zero_()
        net.pos_embed[0] = torch.where(lit.flatten()[:, None], PATTERN, -PATTERN)
        net.cls_token[:] = -PATTERN
        if registers:
            net.reg_token[:] = -PATTERN
        per_head = WIDTH // HEADS
        for block, strengths in zip(net.blocks, strength, strict=True):
            for h in range(HEADS):
                block.attn.qkv.bias[h * per_head] = (
                    strengths[h] * per_head**0.5
                )  # undoes the 1/sqrt(d) of attention
                block.attn.qkv.weight[WIDTH + h * per_head, 0] = (
                    1  # the key is the token's first number, ±1
                )
    return net


@pytest.mark.parametrize(("rows", "columns", "registers"), [(4, 4, 0), (4, 6, 0), (5, 3, 4)])
def test_attention_set_by_hand(rows, columns, registers):
    lit = torch.zeros(rows, columns, dtype=torch.bool)
    lit[1, 2] = lit[3, 0] = lit[3, 1] = True
    strength = torch.tensor([[0.0, 1.0], [-0.5, 2.0], [3.0, 0.3]])
    found = attention(vit_by_hand(lit, strength, registers), pictures(40, 4 * rows, 4 * columns))
    weight = lambda sign: torch.exp(sign * strength)  # noqa: E731
    total = lit.sum() * weight(1) + ((~lit).sum() + 1 + registers) * weight(-1)
    bright = (weight(1) / total).mean()
    dark = (weight(-1) / total).mean()
    grid = torch.where(lit, bright, dark)
    expected = interpolate(grid[None, None], scale_factor=4, mode="bilinear")[0, 0]
    assert found.shape == (40, 4 * rows, 4 * columns)
    assert torch.allclose(found, expected.expand(40, -1, -1), atol=1e-5)
    assert torch.isclose(grid.sum(), 1 - (1 + registers) * dark)  # the rest is on CLS and registers


def test_attention_of_networks_in_use():
    """Each block's attention by the text book, from the block's own input."""
    torch.manual_seed(0)
    net = backbone("vit_mini", size=32).eval()  # another size than it was made for
    images = pictures(3, 48, 48)
    for block in net.blocks:
        nn.init.normal_(
            block.attn.qkv.weight, std=0.1
        )  # at its initial weights all attention is nearly equal
    rows = []
    x = net._pos_embed(net.patch_embed(next(inputs(images))))
    for block in net.blocks:
        q, k, _ = block.attn.qkv(block.norm1(x)).unflatten(-1, (3, 4, 32)).unbind(2)
        scores = torch.einsum("nthd,nshd->nhts", q, k) / 32**0.5
        rows.append(scores.softmax(-1)[:, :, 0, 1:].mean(1))
        x = block(x)
    expected = interpolate(torch.stack(rows).mean(0).view(3, 1, 12, 12), 48, mode="bilinear")[:, 0]
    found = maps(net, images)
    assert torch.allclose(found, expected.detach(), rtol=1e-3, atol=1e-6)
    assert not found.requires_grad
    assert expected.std() > 0.2 * expected.mean()


def test_a_single_patch_is_an_error():
    with pytest.raises(ParameterError, match="patches 1×1"):
        attention(backbone("vit_tiny", size=16), pictures(2, 16, 16))
    assert attention(backbone("vit_tiny", size=32), pictures(2, 32, 32)).shape == (2, 32, 32)


# --- measures -------------------------------------------------------------------------------------


def test_a_uniform_map_has_ratio_one_and_hits_by_chance():
    shares = torch.linspace(0.1, 1, 200)[:, None, None]
    masks = torch.rand(200, 12, 12, generator=torch.Generator().manual_seed(0)) < shares
    for value in (1.0, 0.3, 1e-9, 0.0):  # zeros say nothing, too
        result = inside(torch.full((200, 12, 12), value), masks)
        assert (result.ratio == 1).all()
        assert np.allclose(result.hit, result.area, rtol=1e-12)
        assert np.allclose(result.area, 100 * masks.flatten(1).numpy().mean(1), rtol=1e-12)


def test_measures_by_hand():
    saliency = torch.tensor(
        [[[4.0, 1.0], [1.0, 2.0]], [[1.0, 3.0], [3.0, 1.0]], [[0.0, 0.0], [0.0, 5.0]]]
    )
    masks = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [0, 1]], [[1, 1], [1, 0]]], dtype=torch.bool)
    result = inside(saliency, masks)
    assert np.allclose(result.ratio, [(4 / 8) / (1 / 4), (4 / 8) / (2 / 4), 0])
    assert result.hit.tolist() == [100, 50, 0]  # of the second's two maxima one lies inside
    assert result.area.tolist() == [25, 50, 75]
    assert np.allclose(inside(7 * saliency, masks), result)


def test_boxes_cover_shares_of_pixels():
    """Against a grid 64 times finer, on which these boxes' corners lie."""
    rng = np.random.default_rng(0)
    size = 8
    fine = 64
    low = rng.integers(0, size * fine - 2, (50, 2))
    high = low + 1 + (rng.random((50, 2)) * (size * fine - low - 1)).astype(int)
    boxes = torch.from_numpy(np.concatenate([low, high], 1) / fine).float()
    found = coverage(boxes, size)
    for cover, (x0, y0, x1, y1) in zip(found, np.concatenate([low, high], 1), strict=True):
        page = np.zeros((size * fine, size * fine))
        page[y0:y1, x0:x1] = 1
        assert np.allclose(cover, page.reshape(size, fine, size, fine).mean((1, 3)), atol=1e-6)
    assert coverage(torch.tensor([[0.0, 0.0, 8.0, 8.0]]), size).eq(1).all()


def test_interval_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"a": rng.exponential(2, 3000), "b": rng.normal(5, 1, 3000)})
    values["c"] = values.a + 1  # rows are drawn together
    found = interval(values)
    error = 1.96 * values.std() / 3000**0.5
    assert np.allclose(found["mean"], values.mean())
    assert np.allclose(found.low, values.mean() - error, atol=0.12 * error.max())
    assert np.allclose(found.high, values.mean() + error, atol=0.12 * error.max())
    assert np.allclose(found.loc["c"] - found.loc["a"], 1)
    constant = interval(pd.DataFrame({"a": np.ones(10)}))
    assert (constant.to_numpy() == 1).all()
