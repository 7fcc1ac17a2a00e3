"""`TrainConfig`: what it refuses and how it says so; which configurations are one run."""

import hashlib
import itertools
import math
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from infomax_nb.config import TrainConfig, read_yaml
from infomax_nb.errors import ParameterError, RunError, file_errors
from infomax_nb.files import project_root
from infomax_nb.parameters import notebook_parameters

NAN = math.nan


def refused(**values) -> str:
    """The one line that refuses these values."""
    with pytest.raises(ParameterError) as error:
        TrainConfig(**values)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "bad", "allowed"),
    [
        ("kappa", -1, "greater than 0"),
        ("kappa", 0, "greater than 0"),
        ("kappa", "ten", "a valid number"),
        ("kappa", True, "a number"),
        ("kappa", NAN, "a finite number"),
        ("kappa", math.inf, "a finite number"),
        ("kappa", 10001, "less than or equal to 10000"),
        ("kappa", None, "a valid number"),
        ("kappa", [10], "a valid number"),
        ("alpha", -1, "greater than or equal to 0"),
        ("beta", NAN, "a finite number"),
        ("lr", 0, "greater than 0"),
        ("weight_decay", -0.1, "greater than or equal to 0"),
        ("epochs", 0, "greater than or equal to 1"),
        ("epochs", 2.5, "a valid integer"),
        ("epochs", True, "a number"),
        ("batch_size", 1, "greater than or equal to 2"),
        ("n_train", "all", "a valid integer"),
        ("n_train", "all", "or none"),
        ("n_train", -5, "greater than or equal to 2, or none"),
        ("image_size", 33, "a multiple of 2"),
        ("seed", -1, "greater than or equal to 0"),
        ("proj_dim", 1, "greater than or equal to 2"),
        ("data_root", 5, "a valid string"),
        ("method", "infomix", "'infomax', 'simclr'"),
        ("dataset", "imagenot", "'glyphs', 'glyphs_textured'"),
        ("backbone", "resnet19", "resnet18"),
        ("stem", "large", "'imagenet' or 'small'"),
        ("device", "gpu", "'auto', 'cpu' or 'cuda'"),
        ("precision", 16, "'auto', '32' or 'bf16'"),
        ("damaged", "ignore", "'refuse' or 'skip'"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(name, bad, allowed):
    message = refused(**{name: bad})
    assert message.startswith(f"{name} = {bad!r} is not allowed: it must be ")
    assert allowed in message


def test_the_nearest_name_is_offered():
    assert "did you mean 'cifar10'?" in refused(dataset="cifar11")
    assert refused(kapa=10) == "There is no parameter 'kapa': did you mean 'kappa'?"
    assert "did you mean 'batch_size'?" in refused(batchsize=64)


def test_all_names_are_offered_where_none_is_near():
    message = refused(zzz=1)
    assert all(name in message for name in ("'zzz'", "kappa", "dataset", "n_train"))


def test_fewer_images_than_a_batch_are_refused():
    message = refused(n_train=100, batch_size=128)
    assert "n_train = 100" in message
    assert "batch_size = 128" in message
    assert "n_train" in refused(n_train=100)


def test_as_many_images_as_a_batch_are_enough():
    assert TrainConfig(n_train=128, batch_size=128).n_train == 128


def test_replaced_values_are_validated():
    with pytest.raises(ParameterError, match="kappa = -1"):
        TrainConfig().replace(kappa=-1)
    with pytest.raises(ParameterError, match="did you mean 'kappa'"):
        TrainConfig().replace(kapa=1)


def test_values_of_a_parameter_file_are_validated(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("kappa: -3\n")
    with pytest.raises(ParameterError, match="kappa = -3"):
        TrainConfig.from_yaml(path)


def test_values_given_beside_a_parameter_file_count(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("kappa: 3\nepochs: 2\n")
    assert TrainConfig.from_yaml(path, epochs=5) == TrainConfig(kappa=3, epochs=5)


def test_a_configuration_is_frozen():
    config = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.kappa = 3.0
    assert config.kappa == TrainConfig.model_fields["kappa"].default


def test_replacing_a_value_gives_another_configuration():
    assert TrainConfig().replace(kappa=3).kappa == 3.0


# --- Identity -------------------------------------------------------------------------------------


def test_one_value_has_one_name():
    written = itertools.product((7, 7.0, "7", "7.0"), (5, 5.0, "5"))
    names = {TrainConfig(kappa=kappa, epochs=epochs).name for kappa, epochs in written}
    assert len(names) == 1


def test_a_default_that_is_written_down_is_no_part_of_the_name():
    """The name digests what differs from the defaults, and the recipe, sorted, as JSON."""
    digest = hashlib.sha256(b'{"kappa": 3.0, "recipe": 2}').hexdigest()[:10]
    written = TrainConfig(alpha=1, kappa=3, device="cpu")
    assert written.name == f"glyphs-infomax-resnet_small-{digest}"


@pytest.mark.parametrize(
    "place", [{"data_root": "/elsewhere"}, {"device": "cpu"}, {"runs_dir": "elsewhere/runs"}]
)
def test_places_are_no_part_of_the_name(place):
    assert TrainConfig(**place).name == TrainConfig().name


def test_images_of_ones_own_are_told_apart_by_their_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = TrainConfig(dataset="folder", data_root="mine")
    assert mine.name != mine.replace(data_root="yours").name
    assert mine.identity()["data_root"] == str(tmp_path / "mine")
    assert mine.replace(runs_dir="elsewhere", device="cpu").name == mine.name


def test_every_other_data_set_is_the_same_wherever_it_lies():
    assert "data_root" not in TrainConfig(dataset="cifar10", data_root="mine").identity()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Goes into a project with a folder of images and a link to it, which is one's home, too."""

    def enter(name: str) -> Path:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        (folder / "link").symlink_to("images")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(folder))
        return folder

    return enter


def test_a_folder_has_one_name_however_it_is_written(project):
    images = str(project("one") / "images")
    ways = ["images", "images/", "./images", "../one/images", "link", "~/images"]
    ways += [images, images + "/"]
    configs = [TrainConfig(dataset="folder", data_root=way) for way in ways]
    assert len({config.name for config in configs}) == 1
    assert {config.resolved().data_root for config in configs} == {images}


def test_one_path_in_two_projects_is_two_folders(project):
    project("one")
    one = TrainConfig(dataset="folder", data_root="images").name
    project("two")
    assert TrainConfig(dataset="folder", data_root="images").name != one


def test_runs_may_lie_in_ones_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert TrainConfig(runs_dir="~/runs").run_dir == tmp_path / "runs" / TrainConfig().name


def test_whatever_decides_the_result_is_part_of_the_name():
    base = {"n_train": 1000}
    single = {"method": "supervised", "dataset": "cifar10", "n_train": 1001, "n_classes": 10}
    single |= {"image_size": 64, "backbone": "resnet18", "stem": "small", "epochs": 99}
    single |= {"batch_size": 64, "lr": 1e-4, "weight_decay": 0, "seed": 1, "damaged": "skip"}
    single |= {"kappa": 1, "alpha": 0.5, "beta": 0.5, "proj_dim": 64, "eval_every": 2}
    single |= {"precision": "bf16", "device": "cuda", "recipe": 1, "decay_epochs": 3}
    single |= {"eval_first": 3, "augmentation": "simclr", "local_views": 2}
    changes = [{}, {"n_train": None}, {"method": "byol"}]
    changes += [{field: value} for field, value in single.items()]
    changes += [{"device": "cuda", "precision": "32"}]
    changes += [{"method": "byol", "momentum_schedule": "steps"}]
    changes += [{"start_from": name, "start_epoch": epoch} for name in "xy" for epoch in (1, 2)]
    others = {"data_root", "runs_dir", "keep_epochs"}  # places, and what is kept of a run
    assert set().union(*changes) | others == set(TrainConfig.model_fields)
    names = {TrainConfig(**{**base, **change}).name for change in changes}
    assert len(names) == len(changes)


@pytest.mark.parametrize("change", [{"kappa": 1}, {"alpha": 2}, {"beta": 2}, {"proj_dim": 64}])
def test_what_a_method_ignores_is_no_part_of_the_name(change):
    supervised = TrainConfig(method="supervised")
    assert supervised.replace(**change).name == supervised.name
    assert supervised.replace(lr=0.1).name != supervised.name


def test_what_a_data_set_ignores_is_no_part_of_the_name():
    real = TrainConfig(dataset="cifar10")
    assert real.replace(n_classes=10).name == real.name


def test_a_runs_folder_bears_its_name(tmp_path):
    assert TrainConfig(runs_dir=str(tmp_path)).run_dir == tmp_path / TrainConfig().name


def test_a_runs_folder_is_the_same_whoever_calls_from_where(tmp_path, monkeypatch):
    here = TrainConfig().run_dir
    monkeypatch.chdir(tmp_path)
    assert TrainConfig().run_dir == here


# --- Parameters of a notebook ---------------------------------------------------------------------

DEFAULTS = "# Parameters of this notebook\nkappa = 10\nks = [1, 5]"


def from_notebook(*cells: str, **values) -> TrainConfig:
    """The configuration of a notebook with a parameter of its own, `ks`."""
    return notebook_parameters({"In": ["", *cells], **values}, ["ks"]).config


def test_a_notebooks_values_are_read_from_its_names():
    injected = "# Parameters\nkappa = 20\nn_train = 500\n"
    cells = ["import numpy as np", DEFAULTS, injected, "config = ..."]
    names = {"kappa": 20, "n_train": 500, "ks": [1, 5], "np": None, "kapa": 3}
    assert from_notebook(*cells, **names) == TrainConfig(kappa=20, n_train=500)


def test_a_plain_script_has_no_cells():
    assert notebook_parameters({"seed": 4}).config == TrainConfig(seed=4)


def test_a_notebooks_values_are_validated():
    with pytest.raises(ParameterError, match="kappa = 'ten'"):
        from_notebook(DEFAULTS, kappa="ten")


@pytest.mark.parametrize(
    ("cells", "wrong", "near"),
    [
        ([DEFAULTS, "# Parameters\nkapa = 10\n", "make()"], "kapa", "kappa"),
        (
            ["# Parameters\nkappa = 10", "# Parameters\nks = [2]\ndata_rot = 'x'\n", "make()"],
            "data_rot",
            "data_root",
        ),
        (
            ["# Parameters\nkappa = 10\nsede = 1", "# Parameters\nkappa = 3", "make()"],
            "sede",
            "seed",
        ),
        ([DEFAULTS, "\n# Parameters\nkss = 3"], "kss", "ks"),
        ([DEFAULTS, "# Parameters\nKAPPA = 3"], "KAPPA", "kappa"),
    ],
)
def test_a_misspelt_parameter_of_a_notebook_is_refused(cells, wrong, near):
    with pytest.raises(ParameterError) as error:
        from_notebook(*cells)
    assert str(error.value) == f"There is no parameter '{wrong}': did you mean '{near}'?"


def test_other_and_older_cells_of_a_notebook_are_ignored():
    """In a live notebook a corrected cell is run again; what stood there before doesn't matter."""
    older = ["# Parameters\nkapa = 10", "make()", "other = 3"]
    newer = [DEFAULTS, "mistake = 1\n# Parameters", "make()"]
    assert from_notebook(*older, *newer, kappa=10) == TrainConfig(kappa=10)


def test_a_notebook_shows_one_line():
    """Jupyter prints what `_render_traceback_` returns in place of a traceback."""
    with pytest.raises(ParameterError) as error:
        TrainConfig(kappa="ten")
    (line,) = error.value._render_traceback_()
    assert "\n" not in line
    assert line == f"ParameterError: {error.value}"
    assert isinstance(error.value, ValueError)


# --- Parameter files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- kappa\n- 10\n", "'name: value'"),
        ("", "'name: value'"),
        ("just words", "'name: value'"),
        ("1: 2\n", "'name: value'"),
        ("kappa: [1, 2\nepochs: 3\n", "cannot be read"),
        ("kappa: 1\n  epochs: 2\n", "cannot be read"),
    ],
)
def test_a_file_of_anything_but_names_and_values_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("before", ["", "kappa: "])
def test_code_in_a_parameter_file_is_refused_and_not_executed(tmp_path, before):
    path = tmp_path / "bad.yaml"
    trap = tmp_path / "was-executed"
    text = f"{before}!!python/object/apply:builtins.open ['{trap}', 'w']"
    yaml.unsafe_load(text)
    assert trap.exists()  # the trap works
    trap.unlink()
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        read_yaml(path)
    assert not trap.exists()
    assert f"{path} cannot be read" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["absent.yaml", "a_folder", "binary.yaml"])
def test_a_parameter_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00kappa")
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(ParameterError) as error:
        read_yaml(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


COMMITTED = sorted((project_root() / "params").glob("*.yaml"))


def test_there_are_parameter_files():
    assert {"sweep.yaml", "fast.yaml", "kappa.yaml"} <= {path.name for path in COMMITTED}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_committed_parameter_files_are_configurations(path):
    values = read_yaml(path)
    TrainConfig(**{name: values[name] for name in values if name in TrainConfig.model_fields})


def test_a_file_that_is_missing_is_not_called_damaged(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(RunError) as missing, file_errors(path, "run", RunError):
        path.read_text(encoding="utf-8")
    assert str(missing.value) == f"run: there is no {path}."
    path.touch()
    with pytest.raises(RunError) as refused, file_errors(path, "run", RunError):
        TrainConfig(batch_size=1)
    assert "damaged" not in str(refused.value)
    assert str(refused.value).startswith(f"run: {path} cannot be used: batch_size = 1 is not")
    with pytest.raises(ParameterError, match="^There is no parameter file .*none.yaml\\.$"):
        read_yaml(tmp_path / "none.yaml")
