"""How many steps a run takes, and what is said where they are few."""

import math
import re
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data.loading import load
from infomax_nb.data.sampling import batches
from infomax_nb.train.budget import BATCHES, ENOUGH, in_words, longer, steps


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs"), [(144, 128, 8), (100, 16, 3), (64, 64, 1), (101, 10, 2)]
)
def test_steps_are_the_batches_that_come(images, batch_size, epochs):
    train = load("glyphs", n=images)
    counted = sum(1 for epoch in range(epochs) for _ in batches(train, batch_size, 0, epoch))
    assert steps(TrainConfig(batch_size=batch_size, epochs=epochs), images) == counted


def test_the_sentence_says_the_number_and_what_to_change():
    assert (
        in_words(TrainConfig(), 4800)
        == "Steps of a run: 296 (images: 4,800, batch_size: 128, epochs: 8)."
    )
    said = in_words(TrainConfig(), 144)
    assert said.startswith(
        "Steps of a run: 8 (images: 144, batch_size: 128, epochs: 8), which is too few"
    )
    batch_size, epochs, promised = map(
        int, re.search(r"-p batch_size (\d+) -p epochs (\d+) makes it (\d+)", said).groups()
    )
    assert promised == epochs * (144 // batch_size) >= ENOUGH


PAIRS = [
    (images, batch_size)
    for images in (2, 15, 16, 40, 115, 144, 1000, 20_000)
    for batch_size in (2, 16, 100, 128, 1024)
    if images >= batch_size
]


@pytest.mark.parametrize(("images", "batch_size"), PAIRS)
def test_what_it_advises_is_a_configuration_with_enough_steps(images, batch_size):
    """The largest batch of which there are eight in an epoch, else the smallest."""
    config = TrainConfig(batch_size=batch_size, epochs=1)
    more = longer(config, images)
    assert more == config.replace(batch_size=more.batch_size, epochs=more.epochs)
    allowed = [batch_size, *(size for size in BATCHES if size < batch_size)]
    eight = [size for size in allowed if 8 * size <= images]
    assert more.batch_size == max(eight, default=min(allowed))
    assert more.epochs == math.ceil(ENOUGH / (images // more.batch_size))
    assert steps(more, images) >= ENOUGH


def test_the_command_line_says_it_of_a_small_folder_even_in_a_log(tmp_path):
    """Of public images nothing is said there: test_progress.py."""
    given = {
        "n_classes": 4,
        "n_train": 64,
        "batch_size": 32,
        "epochs": 1,
        "proj_dim": 8,
        "runs_dir": str(tmp_path),
    }
    given |= {"dataset": "folder", "data_root": str(tmp_path / "images"), "image_size": 32}
    for k in range(100):
        folder = tmp_path / "images" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (k, 2 * k, 0)).save(folder / f"{k}.png")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(given))
    command = [sys.executable, "-m", "infomax_nb.train", str(tmp_path / "p.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    said = "Steps of a run: 2 (images: 64, batch_size: 32, epochs: 1), which is too few"
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2  # and the one of the epoch
    assert "Steps" not in done.stdout
