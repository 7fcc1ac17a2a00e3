"""`TrainConfig`: what it refuses and how it says so; which configurations are one run."""

import math

import pytest
import yaml
from pydantic import ValidationError

from infomax_nb.config import TrainConfig, read_yaml
from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root
from infomax_nb.parameters import notebook_parameters


def from_notebook(namespace, extra=()):
    return notebook_parameters(namespace, extra).config


NAN = math.nan


def refused(**values) -> str:
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
def test_bad_values(name, bad, allowed):
    message = refused(**{name: bad})
    assert message.startswith(f"{name} = {bad!r} is not allowed: it must be ")
    assert allowed in message


def test_the_nearest_name_is_offered():
    assert "did you mean 'cifar10'?" in refused(dataset="cifar11")
    assert refused(kapa=10) == "There is no parameter 'kapa': did you mean 'kappa'?"
    assert "did you mean 'batch_size'?" in refused(batchsize=64)
    far = refused(zzz=1)
    assert all(name in far for name in ("'zzz'", "kappa", "dataset", "n_train"))


def test_fewer_images_than_a_batch():
    message = refused(n_train=100, batch_size=128)
    assert "n_train = 100" in message
    assert "batch_size = 128" in message
    assert "n_train" in refused(n_train=100)
    assert TrainConfig(n_train=128, batch_size=128).n_train == 128


def test_every_way_to_a_configuration_validates(tmp_path):
    with pytest.raises(ParameterError, match="kappa = -1"):
        TrainConfig().replace(kappa=-1)
    with pytest.raises(ParameterError, match="did you mean 'kappa'"):
        TrainConfig().replace(kapa=1)
    path = tmp_path / "p.yaml"
    path.write_text("kappa: 3\nepochs: 2\n")
    assert TrainConfig.from_yaml(path, epochs=5) == TrainConfig(kappa=3, epochs=5)
    path.write_text("kappa: -3\n")
    with pytest.raises(ParameterError, match="kappa = -3"):
        TrainConfig.from_yaml(path)


def test_frozen():
    made = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        made.kappa = 3.0
    assert made.kappa == TrainConfig.model_fields["kappa"].default
    assert made.replace(kappa=3).kappa == 3.0


# --- Identity -------------------------------------------------------------------------------------


def test_one_value_has_one_name():
    names = {
        TrainConfig(kappa=k, epochs=e).name for k in (7, 7.0, "7", "7.0") for e in (5, 5.0, "5")
    }
    assert len(names) == 1
    assert (
        TrainConfig(alpha=1).name == TrainConfig().name
    )  # nor does it matter that a default is written down


@pytest.mark.parametrize(
    "place", [{"data_root": "/elsewhere"}, {"device": "cpu"}, {"runs_dir": "elsewhere/runs"}]
)
def test_places_are_no_part_of_the_name(place):
    assert TrainConfig(**place).name == TrainConfig().name


def test_images_of_ones_own_are_told_apart_by_their_place(tmp_path, monkeypatch):
    """Two folders of photographs are two data sets; every other set is the same wherever it
    lies."""
    monkeypatch.chdir(tmp_path)
    one, other = (TrainConfig(dataset="folder", data_root=place) for place in ("mine", "yours"))
    assert one.name != other.name and one.identity()["data_root"] == str(tmp_path / "mine")
    assert one.replace(runs_dir="elsewhere", device="cpu").name == one.name
    assert "data_root" not in TrainConfig(dataset="cifar10", data_root="mine").identity()


def test_a_folder_has_one_name_however_it_is_written(tmp_path, monkeypatch):
    """From two projects `images` is two folders; from one, all that lead to a folder are that
    folder."""
    named = {}
    for project in ("one", "two"):
        (tmp_path / project / "images").mkdir(parents=True)
        (tmp_path / project / "link").symlink_to("images")
        monkeypatch.chdir(tmp_path / project)
        monkeypatch.setenv("HOME", str(tmp_path / project))
        absolute = str(tmp_path / project / "images")
        ways = [
            "images",
            "images/",
            "./images",
            "../" + project + "/images",
            "link",
            "~/images",
            absolute,
            absolute + "/",
        ]
        configs = [TrainConfig(dataset="folder", data_root=way) for way in ways]
        assert len({config.name for config in configs}) == 1
        assert {config.resolved().data_root for config in configs} == {absolute}
        named[project] = configs[0].name
    assert named["one"] != named["two"]


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
    places = {"data_root", "runs_dir", "keep_epochs"}
    assert {k for c in changes for k in c} | places == set(TrainConfig.model_fields)
    assert len({TrainConfig(**{**base, **c}).name for c in changes}) == len(changes)


def test_what_a_method_or_data_set_ignores_is_no_part_of_the_name():
    supervised = TrainConfig(method="supervised")
    assert {
        supervised.replace(**c).name
        for c in ({"kappa": 1}, {"alpha": 2}, {"beta": 2}, {"proj_dim": 64})
    } == {supervised.name}
    assert supervised.replace(lr=0.1).name != supervised.name
    real = TrainConfig(dataset="cifar10")
    assert real.replace(n_classes=10).name == real.name


def test_run_dir(tmp_path, monkeypatch):
    assert TrainConfig(runs_dir=str(tmp_path)).run_dir == tmp_path / TrainConfig().name
    here = TrainConfig().run_dir
    monkeypatch.chdir(tmp_path)
    assert TrainConfig().run_dir == here  # the same, whoever calls from where


# --- Parameters of a notebook ---------------------------------------------------------------------

DEFAULTS = "# Parameters of this notebook\nkappa = 10\nks = [1, 5]"


def namespace(*cells: str, **values) -> dict:
    return {"In": ["", *cells], **values}


def test_from_notebook_reads_what_the_notebook_holds():
    cells = [
        "import numpy as np",
        DEFAULTS,
        "# Parameters\nkappa = 20\nn_train = 500\n",
        "config = ...",
    ]
    made = from_notebook(
        namespace(*cells, kappa=20, n_train=500, ks=[1, 5], np=None, kapa=3), extra=["ks"]
    )
    assert made == TrainConfig(kappa=20, n_train=500)
    assert from_notebook({"seed": 4}) == TrainConfig(seed=4)  # no history: a plain script
    with pytest.raises(ParameterError, match="kappa = 'ten'"):
        from_notebook(namespace(DEFAULTS, kappa="ten"), extra=["ks"])


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
def test_from_notebook_refuses_a_misspelt_parameter(cells, wrong, near):
    with pytest.raises(ParameterError) as error:
        from_notebook(namespace(*cells), extra=["ks"])
    assert str(error.value) == f"There is no parameter '{wrong}': did you mean '{near}'?"


def test_from_notebook_ignores_other_and_older_cells():
    """In a live notebook a corrected cell is run again; what stood there before doesn't matter."""
    cells = [
        "# Parameters\nkapa = 10",
        "make()",
        "other = 3",
        DEFAULTS,
        "mistake = 1\n# Parameters",
        "make()",
    ]
    assert from_notebook(namespace(*cells, kappa=10), extra=["ks"]) == TrainConfig(kappa=10)


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
        ("!!python/object/apply:builtins.open ['TRAP', 'w']", "cannot be read"),
        ("kappa: !!python/object/apply:builtins.open ['TRAP', 'w']", "cannot be read"),
    ],
)
def test_bad_parameter_files(tmp_path, text, words):
    path, trap = tmp_path / "bad.yaml", tmp_path / "was-executed"
    text = text.replace("TRAP", str(trap))
    if str(trap) in text:
        yaml.unsafe_load(text)
        assert trap.exists()  # the trap works
        trap.unlink()
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not trap.exists()


def test_unreadable_parameter_files(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00kappa")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ParameterError) as error:
            read_yaml(path)
        assert str(path) in str(error.value)


def test_the_committed_parameter_files_are_configurations():
    files = sorted((project_root() / "params").glob("*.yaml"))
    assert {"sweep.yaml", "fast.yaml", "kappa.yaml"} <= {f.name for f in files}
    for file in files:
        TrainConfig(**{k: v for k, v in read_yaml(file).items() if k in TrainConfig.model_fields})
