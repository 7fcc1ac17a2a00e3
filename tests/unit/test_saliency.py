"""Saliency on constructed networks whose maps are known, and its measures on maps made by hand."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, interpolate

from infomax_nb.analysis import saliency
from infomax_nb.analysis.saliency import (
    attention,
    compared,
    conclusion,
    coverage,
    inside,
    interval,
    maps,
    ratio_gaps,
    smooth_grad_cam,
)
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.intervals import paired_interval
from infomax_nb.evaluation.representation import inputs
from infomax_nb.models import backbone
from infomax_nb.views import MultiView, dino_views


def pictures(n: int, *size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8, generator=generator)


def stretched(maps: torch.Tensor) -> torch.Tensor:
    """Each map (N, H, W) onto 0..1."""
    low = maps.amin((1, 2), keepdim=True)
    high = maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


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
        height, width = x.shape[-2:]
        top = self.down * height // 2
        left = self.right * width // 2
        window = torch.zeros(height, width)
        window[top : top + height // 2, left : left + width // 2] = 1
        return window

    def forward(self, x):
        self.calls.append(x.detach().clone())
        areas = self.conv(x) * self.window(x)
        return self.map(areas).mean((2, 3))


def striped_images() -> torch.Tensor:
    """White but for a grid of black points: the input has a range, and the noise a scale."""
    images = torch.full((3, 3, 16, 24), 255, dtype=torch.uint8)
    images[:, :, ::4, ::4] = 0
    return images


@pytest.mark.parametrize("down", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_a_network_that_looks_at_one_quadrant(down, right, noise):
    net = Quadrant(down, right)
    images = striped_images()
    found = smooth_grad_cam(net, images, "map", noise)
    quarter = net.window(images)
    assert found.shape == (3, 16, 24)
    assert found.min() == 0
    assert found.max() <= 1
    assert (found * (1 - quarter)).sum() == 0
    result = inside(found, quarter.expand(3, -1, -1))
    assert np.allclose(result.ratio, 4)
    assert (result.hit == 100).all()
    assert np.allclose(result.area, 25)


def test_without_noise_a_map_is_what_the_network_sees():
    net = Quadrant(0, 1)
    images = striped_images()
    found = smooth_grad_cam(net, images, "map", noise=0)
    expected = net.window(images) * (images[:, 0] > 0)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_paper_takes_the_default_map_of_a_convolutional_network():
    net = Quadrant(1, 0)
    images = striped_images()
    assert torch.equal(maps(net, images), smooth_grad_cam(net, images))


def two_parts() -> nn.Sequential:
    """A network of the layers before a map, and those behind it."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, 5, 3, 1, 1)]
    head = [nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 7)]
    return nn.Sequential(nn.Sequential(*body), nn.Sequential(*head))


def gradient_at_map(net: nn.Sequential, areas: torch.Tensor, target) -> torch.Tensor:
    """Of the sum of target(z, z held constant), with respect to the map."""
    areas = areas.detach().requires_grad_()
    z = net[1](areas)
    return torch.autograd.grad(target(z, z.detach()).sum(), areas)[0]


def cam_by_hand(areas: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """ReLU(sum_k w_k A_k), enlarged and stretched; w_k is the gradient's mean over the map A_k."""
    weights = gradient.mean((2, 3), keepdim=True)
    cam = (weights * areas).sum(1).clamp(min=0).detach()
    large = interpolate(stretched(cam)[:, None], (32, 32), mode="bilinear")[:, 0]
    return stretched(large)


def test_grad_cam_is_the_formula():
    """With w_k the mean of d(z.z')/dA_k, in float64; one copy, no noise."""
    net = two_parts()
    images = pictures(4, 32, 32)
    found = smooth_grad_cam(net, images, "0", noise=0, copies=1)

    net = net.double()
    areas = net[0](next(inputs(images)).double())
    expected = cam_by_hand(areas, gradient_at_map(net, areas, torch.mul))
    assert torch.allclose(found.double(), expected, atol=2e-4)  # OpenCV's: 11 bits
    assert found.std() > 0.1


def test_the_length_is_the_target_by_default(monkeypatch):
    """The gradient of z.z', z' being its detached copy, is z: that of half the squared length."""
    net = two_parts()
    images = pictures(4, 32, 32)
    seen = []
    target = saliency._dot_with_itself

    def noting(z):
        seen.append((z, target(z)))
        return seen[-1][1]

    with monkeypatch.context() as patch:
        patch.setattr(saliency, "_dot_with_itself", noting)
        smooth_grad_cam(net, images, "0", noise=0, copies=1)
    assert seen
    for z, value in seen:
        assert torch.allclose(torch.autograd.grad(value, z, retain_graph=True)[0], z)
    assert torch.equal(maps(net, images), smooth_grad_cam(net, images, target="length"))


def test_the_cosine_with_another_view():
    """d cos(z, c)/dz = (c/|c| - cos(z, c) z/|z|)/|z|, which is orthogonal to z; c is the embedding
    of the global view that the seed draws."""
    net = two_parts()
    images = pictures(4, 32, 32)
    options = {"noise": 0, "copies": 1, "target": "another view"}
    found = smooth_grad_cam(net, images, "0", seed=7, **options)

    net = net.double()
    (view,) = MultiView(dino_views(32)[:1])(images, torch.Generator().manual_seed(7))
    towards = nn.functional.normalize(net(view.double()), dim=1).detach()
    areas = net[0](next(inputs(images)).double()).detach().requires_grad_()
    z = net[1](areas)
    length = z.norm(dim=1, keepdim=True)
    cosine = (z * towards).sum(1, keepdim=True) / length
    pull = ((towards - cosine * z / length) / length).detach()
    assert (pull * z).sum(1).abs().max() < 1e-12
    (gradient,) = torch.autograd.grad(z, areas, pull)
    assert torch.allclose(found.double(), cam_by_hand(areas, gradient), atol=2e-4)
    assert not torch.equal(found, smooth_grad_cam(net.float(), images, "0", seed=8, **options))


def test_each_noisy_copy_has_its_own_view():
    """And the noise is that of the other target."""
    net = two_parts()
    images = pictures(2, 32, 32)
    inputs_seen: list = []
    net.register_forward_hook(lambda _, given, __: inputs_seen.append(given[0].detach().clone()))
    smooth_grad_cam(net, images, copies=3)
    alone = inputs_seen[1:]
    inputs_seen.clear()
    smooth_grad_cam(net, images, copies=3, target="another view")
    views = inputs_seen[1::2]
    assert len(alone) == len(views) == 3
    assert all(torch.equal(*both) for both in zip(alone, inputs_seen[2::2], strict=True))
    assert not torch.equal(views[0], views[1])


def test_an_unknown_target():
    with pytest.raises(ParameterError, match="target = 'cosine' .* length, another view"):
        maps(two_parts(), pictures(2, 32, 32), target="cosine")


def test_the_cosine_in_place_of_the_dot_product_has_no_gradient():
    net = two_parts().double()
    areas = net[0](next(inputs(pictures(4, 32, 32))).double())
    assert gradient_at_map(net, areas, torch.mul).abs().max() > 1e-3
    assert gradient_at_map(net, areas, cosine_similarity).abs().max() < 1e-12


def test_the_mean_is_over_noisy_copies():
    """The maps of `Quadrant` in closed form, from the noisy inputs that it has seen; 70 images are
    two batches."""
    net = Quadrant(0, 1)
    images = pictures(70, 8, 8)
    Quadrant.calls.clear()
    noisy_maps = partial(smooth_grad_cam, net, images, "map", noise=0.2, copies=25)
    found = noisy_maps(seed=3)
    batches = []
    for size in (64, 6):
        calls = [call for call in Quadrant.calls if len(call) == size]
        assert len(calls) == 25
        batches.append(torch.stack(calls))
    noisy = torch.cat(batches, 1)
    area = noisy.sum(2) * net.window(images)  # both channels are the same
    weights = area.mean((2, 3), keepdim=True)
    cam = (area * weights).clamp(min=0)
    cam = cam / cam.amax((2, 3), keepdim=True)
    assert torch.allclose(found, cam.mean(0), atol=1e-4)

    clean = torch.cat(list(inputs(images)))
    height = clean.amax((1, 2, 3)) - clean.amin((1, 2, 3))
    scale = (noisy - clean).std((0, 2, 3, 4)) / height
    assert torch.allclose(scale, torch.tensor(0.2), rtol=0.06)
    assert abs(scale.mean() - 0.2) < 0.002
    for copy in noisy[1:]:
        assert (copy != noisy[0]).float().mean() > 0.999
    assert torch.equal(found, noisy_maps(seed=3))
    assert not torch.equal(found, noisy_maps(seed=4))


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
    point = r"layer = 'layer4' .* larger than 1×1.* layer1 8×8.* layer4 1×1\.$"
    with pytest.raises(ParameterError, match=point):
        smooth_grad_cam(net, images, "layer4")
    unknown = r"layer = 'layer9' .* act1 16×16, layer1 8×8"
    with pytest.raises(ParameterError, match=unknown):
        smooth_grad_cam(net, images, "layer9")
    none_large = r"layer = None .* at least 8×8.* act1 4×4, layer1 2×2"
    with pytest.raises(ParameterError, match=none_large):
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
    fresh = backbone("vit_mini").blocks[0].attn
    assert {block.attn.fused_attn for block in vit.blocks} == {fresh.fused_attn}


# --- attention ------------------------------------------------------------------------------------

HEADS = 2
BLOCKS = 3
WIDTH = 8
# Mean 0, variance 1: LayerNorm leaves it and its negative.
PATTERN = torch.tensor([1.0, -1.0]).repeat(WIDTH // 2)


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
                undone = per_head**0.5  # attention divides by it
                block.attn.qkv.bias[h * per_head] = strengths[h] * undone
                # The key is the token's first number, ±1.
                block.attn.qkv.weight[WIDTH + h * per_head, 0] = 1
    return net


@pytest.mark.parametrize(("rows", "columns", "registers"), [(4, 4, 0), (4, 6, 0), (5, 3, 4)])
def test_attention_set_by_hand(rows, columns, registers):
    lit = torch.zeros(rows, columns, dtype=torch.bool)
    lit[1, 2] = lit[3, 0] = lit[3, 1] = True
    strength = torch.tensor([[0.0, 1.0], [-0.5, 2.0], [3.0, 0.3]])
    net = vit_by_hand(lit, strength, registers)
    found = attention(net, pictures(40, 4 * rows, 4 * columns))
    of_lit = strength.exp()
    of_dark = (-strength).exp()
    n_dark = (~lit).sum() + 1 + registers
    total = lit.sum() * of_lit + n_dark * of_dark
    bright = (of_lit / total).mean()
    dark = (of_dark / total).mean()
    grid = torch.where(lit, bright, dark)
    expected = interpolate(grid[None, None], scale_factor=4, mode="bilinear")[0, 0]
    assert found.shape == (40, 4 * rows, 4 * columns)
    assert torch.allclose(found, expected.expand(40, -1, -1), atol=1e-5)
    assert torch.isclose(grid.sum(), 1 - (1 + registers) * dark)  # the rest is on CLS and registers


def test_attention_of_networks_in_use():
    """Each block's attention by the text book, from the block's own input."""
    torch.manual_seed(0)
    net = backbone("vit_mini", size=32).eval()
    images = pictures(3, 48, 48)  # another size than it was made for
    for block in net.blocks:  # at its initial weights all attention is nearly equal
        nn.init.normal_(block.attn.qkv.weight, std=0.1)
    rows = []
    x = net._pos_embed(net.patch_embed(next(inputs(images))))
    for block in net.blocks:
        qkv = block.attn.qkv(block.norm1(x))
        q, k, _ = qkv.unflatten(-1, (3, 4, 32)).unbind(2)
        scores = torch.einsum("nthd,nshd->nhts", q, k) / 32**0.5
        weights = scores.softmax(-1).mean(1)
        rows.append(weights[:, 0, 1:])
        x = block(x)
    grid = torch.stack(rows).mean(0).view(3, 1, 12, 12)
    expected = interpolate(grid, 48, mode="bilinear")[:, 0]
    found = maps(net, images)
    assert torch.allclose(found, expected.detach(), rtol=1e-3, atol=1e-6)
    assert not found.requires_grad
    assert expected.std() > 0.2 * expected.mean()


def test_a_single_patch_is_an_error():
    with pytest.raises(ParameterError, match="patches 1×1"):
        attention(backbone("vit_tiny", size=16), pictures(2, 16, 16))
    of_four = attention(backbone("vit_tiny", size=32), pictures(2, 32, 32))
    assert of_four.shape == (2, 32, 32)


# --- measures -------------------------------------------------------------------------------------


def test_a_uniform_map_has_ratio_one_and_hits_by_chance():
    generator = torch.Generator().manual_seed(0)
    shares = torch.linspace(0.1, 1, 200)[:, None, None]
    masks = torch.rand(200, 12, 12, generator=generator) < shares
    area = masks.flatten(1).numpy().mean(1)
    for value in (1.0, 0.3, 1e-9, 0.0):  # zeros say nothing, too
        result = inside(torch.full((200, 12, 12), value), masks)
        assert (result.ratio == 1).all()
        assert np.allclose(result.hit, result.area, rtol=1e-12)
        assert np.allclose(result.area, 100 * area, rtol=1e-12)


def test_measures_by_hand():
    saliency = torch.tensor([[4.0, 1, 1, 2], [1, 3, 3, 1], [0, 0, 0, 5]]).view(3, 2, 2)
    masks = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 0]]).view(3, 2, 2).bool()
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
    width = size * fine
    low = rng.integers(0, width - 2, (50, 2))
    room = width - low - 1
    high = low + 1 + (rng.random((50, 2)) * room).astype(int)
    corners = np.concatenate([low, high], 1)
    boxes = torch.from_numpy(corners / fine).float()
    found = coverage(boxes, size)
    for cover, (x0, y0, x1, y1) in zip(found, corners, strict=True):
        page = np.zeros((width, width))
        page[y0:y1, x0:x1] = 1
        expected = page.reshape(size, fine, size, fine).mean((1, 3))
        assert np.allclose(cover, expected, atol=1e-6)
    assert coverage(torch.tensor([[0.0, 0.0, 8.0, 8.0]]), size).eq(1).all()


def test_interval_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"a": rng.exponential(2, 3000)})
    values["b"] = rng.normal(5, 1, 3000)
    values["c"] = values.a + 1  # rows are drawn together
    found = interval(values)
    error = 1.96 * values.std() / 3000**0.5
    assert np.allclose(found["mean"], values.mean())
    tolerance = 0.12 * error.max()
    assert np.allclose(found.low, values.mean() - error, atol=tolerance)
    assert np.allclose(found.high, values.mean() + error, atol=tolerance)
    assert np.allclose(found.loc["c"] - found.loc["a"], 1)
    constant = interval(pd.DataFrame({"a": np.ones(10)}))
    assert (constant.to_numpy() == 1).all()


# --- the verdict ----------------------------------------------------------------------------------


def measured(ratio: float, other: float = 1.0, images: int = 40) -> pd.DataFrame:
    """Ratios of one network's maps, that vary a little from image to image."""
    ripple = np.linspace(-0.1, 0.1, images)
    return pd.DataFrame({"ratio": ratio + ripple, "other": other})


def three(*ratios: float) -> list[pd.DataFrame]:
    return [measured(ratio) for ratio in ratios]


def test_gaps_are_paired_by_network_and_a_single_reference_serves_all():
    networks = {"ours": three(1.2, 1.4, 1.6), "untrained": three(1.1, 1.2, 1.3)}
    gaps = ratio_gaps(networks | {"uniform": three(1.0)}, "ours")
    assert list(gaps) == [
        "its own maps on another image's object",
        "a uniform map",
        "the untrained network",
    ]
    means = {name: [gap.mean() for gap in each] for name, each in gaps.items()}
    assert means["the untrained network"] == pytest.approx([0.1, 0.2, 0.3])
    assert means["a uniform map"] == pytest.approx([0.2, 0.4, 0.6])


def test_a_method_is_not_compared_with_itself():
    networks = {"simclr": three(1.2, 1.4, 1.6), "untrained": three(1.1, 1.2, 1.3)}
    assert "simclr" not in ratio_gaps(networks, "simclr")


def test_over_networks_the_interval_is_students():
    gaps = {"a": [pd.Series([1.0, 2.0]), pd.Series([2.0, 3.0]), pd.Series([3.0, 4.0])]}
    table = compared(gaps)
    expected = paired_interval([1.5, 2.5, 3.5])
    for end in ("mean", "low", "high"):
        assert table.loc["a", end] == pytest.approx(expected[end])


def test_of_one_network_the_interval_is_over_its_images():
    gap = measured(0.2).ratio
    table = compared({"a": [gap]})
    expected = interval(pd.DataFrame({"a": gap}))
    assert table.drop(columns="word").equals(expected)


def test_words_say_where_the_interval_lies():
    gaps = {
        "x": [pd.Series(gap) for gap in (1.0, 1.1, 0.9)],
        "y": [pd.Series(gap) for gap in (-1.0, -1.1, -0.9)],
        "z": [pd.Series(gap) for gap in (-1.0, 1.1, 0.2)],
    }
    assert compared(gaps).word.tolist() == ["above", "below", "not told apart from"]


def test_looking_at_objects_is_shown_if_ours_is_above_all_references():
    words = {"a uniform map": "above", "the centre prior": "above"}
    assert conclusion(words) == "“Focuses on objects” is shown"
    words["the untrained network"] = "not told apart from"
    words["the centre prior"] = "below"
    missed = "it is not above the centre prior, nor the untrained network"
    assert conclusion(words) == f"“Focuses on objects” is not shown: {missed}"


def test_another_method_need_not_be_beaten():
    assert conclusion({"simclr": "below"}) == "“Focuses on objects” is shown"
