"""What runs cost before they start, against sums done by hand."""

import math
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root
from infomax_nb.train.fitting import datasets
from pipeline import plan
from pipeline.bill import called, makespan
from pipeline.cost import flops_per_image, step_shape
from pipeline.roofline import H100, Gpu, KernelClock, evaluation_seconds, step_seconds

RATE = {"images_per_second": [100.0], "evaluated_per_second": [600.0]}


def rates(*key) -> dict[str, pd.DataFrame]:
    """A throughput that is easy to divide by, as if it were measured for one kind of run."""
    return {"cpu": pd.DataFrame(RATE, index=pd.MultiIndex.from_tuples([key]))}


@pytest.fixture
def cifar10() -> TrainConfig:
    """ResNet-18, 200 epochs of 390 steps."""
    return TrainConfig.from_yaml(project_root() / "params/paper/cifar10_infomax_resnet18.yaml")


@pytest.fixture
def measured() -> dict[str, pd.DataFrame]:
    return rates("resnet18", "imagenet", 32, "infomax", 128)


def test_the_hours_are_those_of_the_images_and_of_the_evaluations(cifar10, measured):
    line = plan.bill(cifar10, measured)
    assert line["images"] == 50_000
    assert line["views"] == 8
    assert line["epochs"] == 200
    assert line["steps"] == 78_000
    assert line["cpu"] == pytest.approx(78_000 * 128 / 100 + 200 * 60_000 / 600)
    assert line["own_views"]


def test_the_disk_holds_each_weight_and_two_numbers_more_while_it_trains(cifar10):
    """ResNet-18 without its classifier, and the projector: two layers, a bias and BatchNorm."""
    line = plan.bill(cifar10, {})
    weights = 11_176_512 + 512 * 2048 + 2048 * 128 + 128 + 2 * 2048
    assert line["kept_bytes"] == pytest.approx(4 * weights, rel=2e-3)  # and running statistics
    assert line["peak_bytes"] - line["kept_bytes"] == pytest.approx(8 * weights, rel=2e-3)


def test_what_was_not_measured_has_no_hours(cifar10, measured):
    assert math.isnan(plan.bill(cifar10.replace(image_size=64), measured)["cpu"])


def test_fewer_views_cost_as_much_less_as_their_convolutions(cifar10, measured):
    """Two views of 32 pixels beside six of 16, where a convolution's cost goes with the area."""
    measured |= rates("resnet18", "small", 32, "infomax", 128)
    eight = cifar10.replace(stem="small", eval_every=200)
    two = plan.bill(eight.replace(local_views=0), measured)
    evaluation = 60_000 / 600
    share = (two["cpu"] - evaluation) / (plan.bill(eight, measured)["cpu"] - evaluation)
    assert two["views"] == 2
    assert not two["own_views"]
    assert share == pytest.approx(2 * 32**2 / (2 * 32**2 + 6 * 16**2), rel=0.02)


def test_the_methods_own_views_may_be_named(cifar10, measured):
    line = plan.bill(cifar10, measured)
    named = plan.bill(cifar10.replace(augmentation="dino", local_views=6), measured)
    assert named["cpu"] == line["cpu"]
    assert named["own_views"]


@pytest.mark.parametrize("method, images", [("supervised", 5_000), ("infomax", 105_000)])
def test_supervised_training_has_the_labelled_images_of_stl10(method, images):
    assert plan.bill(TrainConfig(dataset="stl10", method=method), {})["images"] == images


def test_glyphs_are_as_many_as_are_drawn():
    config = TrainConfig(dataset="glyphs", n_classes=10, batch_size=64, epochs=3)
    train, test = datasets(config)
    assert plan.training_images(config) == len(train)
    assert plan.evaluated_images(config) == (len(train), len(test))
    assert plan.number_of_steps(config) == 3 * (len(train) // 64)


def test_a_folder_has_no_bill_before_its_images_are_counted():
    sentence = "^dataset = 'folder' is not allowed: it must be a data set whose number of images"
    with pytest.raises(ParameterError, match=sentence):
        plan.bill(TrainConfig(dataset="folder"), {})


def test_imagenet100_is_evaluated_only():
    line = plan.bill(TrainConfig(dataset="imagenet100"), {})
    assert line["images"] == line["epochs"] == line["steps"] == 0


@pytest.mark.parametrize("devices, hours", [(1, 12.0), (2, 6.0), (3, 5.0), (64, 5.0)])
def test_the_longest_run_comes_first(devices, hours):
    assert makespan([1.0, 2.0, 5.0, 4.0], devices) == hours


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    command = [sys.executable, "-u", "-m", "pipeline.plan", "params/fast.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=project_root(), **pipes)
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 0


# --- The roofline ---------------------------------------------------------------------------------

# Easy to divide by: a million of everything a second, and a tenth of a second for a launch.
SLOW = Gpu("slow", bfloat16=2e6, float32=1e6, memory=1e6, launch=0.1)


def product_seconds(rows: int, inner: int, columns: int, dtype: torch.dtype) -> float:
    """What the clock says of one matrix product."""
    shape = {"device": "meta", "dtype": dtype}
    left = torch.empty(rows, inner, **shape)
    right = torch.empty(inner, columns, **shape)
    with KernelClock(SLOW) as clock:
        left @ right
    return clock.seconds


def test_a_large_product_takes_its_operations():
    """2 x 200^3 are 16 million; its 3 x 200^2 numbers are 0.48 million bytes in float32."""
    assert product_seconds(200, 200, 200, torch.float32) == pytest.approx(16.0)
    assert product_seconds(200, 200, 200, torch.bfloat16) == pytest.approx(8.0)


def test_a_thin_product_takes_its_bytes():
    """A million bytes are 1 s: 2 x 500,000 numbers of four bytes; two operations for each."""
    seconds = product_seconds(500_000, 1, 1, torch.float32)
    assert seconds == pytest.approx(4 * (500_000 + 1 + 500_000) / 1e6)


def test_a_tiny_product_takes_its_launch():
    assert product_seconds(2, 2, 2, torch.float32) == 0.1


def test_views_of_memory_take_nothing():
    x = torch.empty(4, 6, device="meta")
    with KernelClock(SLOW) as clock:
        x.t().reshape(6, 4)[1:].unsqueeze(0)
    assert clock.seconds == 0.0


def test_the_peaks_are_the_data_sheets():
    """Dense bfloat16 is half of what the sheet says with sparsity: 1,979 TFLOP/s."""
    assert H100.bfloat16 == pytest.approx(0.4 * 1979e12 / 2, rel=1e-3)
    assert H100.float32 == pytest.approx(0.9 * 67e12)
    assert H100.memory == pytest.approx(0.75 * 3.35e12)


def test_a_step_takes_its_launches_where_each_kernel_is_tiny(cifar10):
    """With nothing but a floor for launches, the time is their number: those of the networks."""
    endless = Gpu("endless", math.inf, math.inf, math.inf, launch=1.0)
    launches = step_seconds(cifar10, endless)
    views_and_rest = 400 + 100 + 1
    # 20 convolutions and as many BatchNorms, forward and backward, for each of two resolutions.
    assert launches - views_and_rest > 2 * 20 * (1 + 2 + 2 + 2)
    assert launches < 1100


def test_a_step_takes_its_operations_where_nothing_else_costs(cifar10):
    """The sum of the kernels' operations is what is counted elsewhere."""
    narrow = Gpu("narrow", 1e12, 1e12, math.inf, launch=0.0)
    by_hand = 128 * flops_per_image(step_shape(cifar10)) / 1e12
    assert step_seconds(cifar10, narrow) == pytest.approx(by_hand, rel=1e-3)


def test_an_evaluation_takes_each_images_operations_and_the_neighbours(cifar10):
    narrow = Gpu("narrow", 1e12, 1e12, math.inf, launch=0.0)
    supervised = step_shape(cifar10.replace(method="supervised"))
    forward = flops_per_image(supervised) / 3  # a backward pass is two more
    by_hand = (60_000 * forward + 2 * 50_000 * 10_000 * 512) / 1e12
    assert evaluation_seconds(cifar10, 50_000, 10_000, narrow) == pytest.approx(by_hand, rel=0.05)


def test_a_gpus_hours_are_estimated_until_they_are_measured(cifar10):
    line = plan.bill(cifar10, {})
    by_hand = 78_000 * step_seconds(cifar10) + 200 * evaluation_seconds(cifar10, 50_000, 10_000)
    assert line["cuda"] == pytest.approx(by_hand)
    assert line["cuda_source"] == "estimated: roofline of an H100"


def test_a_gpus_hours_are_the_measured_ones_where_there_are_some(cifar10, measured):
    line = plan.bill(cifar10, {"cuda": measured["cpu"]})
    assert line["cuda"] == pytest.approx(78_000 * 128 / 100 + 200 * 60_000 / 600)
    assert line["cuda_source"].startswith("measured on ")


def test_a_row_of_cifar10_is_estimated_at_minutes():
    """Between the 134 GFLOP a step at the sheet's peak, and a step that waits for each launch."""
    for file in sorted((project_root() / "params" / "paper").glob("cifar10_*.yaml")):
        minutes = plan.bill(TrainConfig.from_yaml(file), {})["cuda"] / 60
        assert 2 < minutes < 6, file.stem


# --- The bill as it is printed --------------------------------------------------------------------

ROOT = project_root()


def printed(*words: object) -> str:
    command = [sys.executable, "-m", "pipeline.plan", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def paper_bill(tmp_path_factory) -> tuple[str, pd.DataFrame]:
    """What `make plan CSV=FILE` prints, and the file."""
    file = tmp_path_factory.mktemp("plan") / "bill.csv"
    return printed("--csv", file), pd.read_csv(file)


def parts_of(text: str) -> dict[str, list[str]]:
    """The rows of each part by its first words, up to a comma or colon."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return {re.split("[,:]", lines[0])[0]: lines[2:] for lines in blocks}


def test_each_run_of_the_paper_stands_once_under_its_table_or_figure(paper_bill):
    parts = parts_of(paper_bill[0].strip())
    rows = {part: len(lines) for part, lines in parts.items() if part[:5] in ("Table", "Figur")}
    table = len(pd.read_csv(ROOT / "reports" / "paper_table1.csv"))
    curves = {"Figure 3": 6, "Figure 4": 5, "Figure 5": 7}  # of each one is a row of the table
    own = {figure: count - 1 for figure, count in curves.items()}
    assert rows == {"Table 1": table, **own, "Figure 6": 0, "Figure 7": 0}
    assert f"In total {table + sum(own.values())} runs" in paper_bill[0]


def test_runs_are_called_as_people_call_them(paper_bill):
    text, csv = paper_bill
    figure4 = [row.split("  ")[0].split("κ = ")[1].split()[0] for row in parts_of(text)["Figure 4"]]
    assert figure4 == ["0.1", "0.6931", "1", "20"]
    assert not re.search(r"[0-9a-f]{10}", text), "no digests"
    assert not re.search(r"\de[+-]\d", text), "no powers of ten"
    files = (ROOT / "params" / "paper").glob("*.yaml")
    assert sorted(csv.run) == sorted(TrainConfig.from_yaml(file).name for file in files)


def test_a_total_is_the_sum_of_its_runs(paper_bill):
    text, csv = paper_bill
    assert f"on a CPU: {csv.cpu.sum() / 86_400:,.0f} days on 1" in text


def test_the_bill_says_of_each_number_which_it_is(paper_bill):
    """A sign where it is estimated, none where it was measured."""
    text, csv = paper_bill
    estimated = csv.cuda_source == "estimated: roofline of an H100"
    assert text.count("≈") == estimated.sum() + estimated.any()  # and the line that explains it


def test_what_differs_is_named_and_nothing_else():
    first = TrainConfig(dataset="cifar10", kappa=0.5)
    both = called([first, first.replace(seed=1)])
    assert both[1] == "CIFAR-10, resnet_small, infomax, κ = 0.5, seed 1"
    assert called([first.replace(method="simclr")]) == ["CIFAR-10, resnet_small, simclr"]
