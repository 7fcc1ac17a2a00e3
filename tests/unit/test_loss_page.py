"""docs/loss.md shows how the loss is used elsewhere; its first two blocks are run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from lightly.loss import NTXentLoss

from infomax_nb.losses import InfoMaxLoss
from infomax_nb.networks import available
from infomax_nb.objective import KAPPA, KAPPA_MAX

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "loss.md").read_text("utf-8")
BLOCK = r"(?ms)^```python\n(.*?)^```"
LINES, LOOP, SOLO, REST = re.findall(BLOCK, PAGE)
README = re.findall(BLOCK, (ROOT / "README.md").read_text("utf-8"))
SHOWN = [LINES, *(block for block in README if "InfoMaxLoss(" in block and "import" in block)]


def run(code: str, **given) -> dict:
    """The names that a block of a page has at its end."""
    names = dict(given)
    exec(compile(code, "page", "exec"), names)
    return names


@pytest.mark.parametrize("lines", SHOWN)
def test_three_lines_of_plain_pytorch(lines):
    """The loss is lightly's, and can be followed back."""
    assert len([line for line in lines.splitlines() if line]) == 3
    torch.manual_seed(0)
    z0, z1 = torch.randn(2, 32, 64, requires_grad=True).unbind()
    names = run(lines, z0=z0, z1=z1)
    peer = NTXentLoss(temperature=0.1)(z0, z1)
    assert names["loss"].item() == pytest.approx(peer.item(), abs=1e-6)
    z0.retain_grad()
    names["loss"].backward()
    assert z0.grad.abs().sum() > 0


def test_lightlys_loop(capsys):
    torch.manual_seed(0)
    names = run(LOOP)
    assert isinstance(names["criterion"], InfoMaxLoss)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["epoch 0", "epoch 1"]
    assert said[1].endswith("InfoMaxLoss(kappa=10.0, alpha=1.0, beta=1.0)")
    assert torch.isfinite(names["loss"])
    backbone = names["backbone"]
    torch.manual_seed(0)  # the block draws this network's weights first, too
    untrained = torch.nn.Sequential(*list(names["resnet18"]().children())[:-1])
    changed = zip(backbone.parameters(), untrained.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in changed)


def test_solo_learns_method_calls_the_loss_as_it_can_be_called():
    """Its own base classes are not at hand: what it hands to the loss is a list of projections."""
    assert "was not run" in PAGE
    compile(SOLO, "page", "exec")
    assert 'self.objective(out["z"])' in SOLO
    assert InfoMaxLoss()([torch.eye(4)] * 3).isfinite()


def test_the_rest_of_the_package():
    names = run(REST)
    assert names["config"].kappa == 10
    assert "<Network " in repr(names["network"])


def test_each_network_of_the_repository_is_named_with_its_card():
    cards = re.findall(r"\(\.\./reports/networks/(\S+)\.md\)", PAGE)
    assert sorted(cards) == sorted(available())
    numbers = ["seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen"]
    assert f"The repository has {numbers[len(cards) - 7]}, each with a card" in PAGE


def test_the_table_has_the_losses_own_limits():
    rows = re.findall(r"(?m)^\| `(\w+)` \|.*\| (\S+) \| (.*) \|$", PAGE)
    values = {name: (default, allowed) for name, default, allowed in rows}
    assert values == {
        "kappa": (f"{KAPPA:g}", f"above 0, at most {KAPPA_MAX:,.0f}"),
        "temperature": (f"{1 / KAPPA:g}", f"{1 / KAPPA_MAX:g} and above"),
        "alpha": (f"{InfoMaxLoss().alpha:g}", "0 and above"),
        "beta": (f"{InfoMaxLoss().beta:g}", "0 and above"),
    }


def test_stacked_views_as_the_page_says():
    z = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0))
    criterion = InfoMaxLoss()
    of_list = criterion([z[:, 0], z[:, 1], z[:, 2]])
    assert torch.equal(criterion(*z.unbind(1)), of_list)
    assert torch.equal(criterion(*z.transpose(0, 1)), of_list)
