"""Imports go one way, and the committed picture of them is the command's."""

import re

from infomax_nb.files import project_root
from pipeline.architecture import (
    cycles,
    draw,
    drawn_graph,
    import_graph,
    layers,
    picture,
    room_graph,
    room_of,
    without_implied,
)

ROOMS = {"plan": {"train", "files"}, "train": {"files"}, "files": set()}


def written(root, sources: dict[str, str]) -> dict[str, set[str]]:
    """The import graph of files with these sources."""
    for name, source in sources.items():
        path = root / "infomax_nb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return import_graph(root)


def test_no_module_imports_from_one_that_imports_it():
    assert cycles(import_graph()) == []


def test_drawings_are_for_notebooks_and_the_pipeline_alone():
    figures = "infomax_nb.figures"
    for module, imported in import_graph().items():
        if module.startswith("infomax_nb") and not module.startswith(figures):
            assert not [name for name in imported if name.startswith(figures)], module


def test_names_import_nothing():
    assert import_graph()["infomax_nb.names"] == set()


def test_the_committed_picture_is_what_the_command_draws():
    """Else `python -m pipeline.architecture` draws it anew."""
    assert drawn_graph(picture()) == room_graph(import_graph())


def test_the_table_of_rooms_has_each_room_of_the_picture():
    """And each module of the room that measures."""
    page = (project_root() / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (`.+?`) \| (.*) \|$", page)
    named = " ".join(first for first, _ in rows)
    for room in room_graph(import_graph()).keys() - {"small things"}:
        assert f"`{room}.py`" in named or f"`{room}/`" in named, room
    of_evaluation = dict(rows)["`evaluation/`"]
    for path in (project_root() / "infomax_nb" / "evaluation").glob("[a-z]*.py"):
        assert f"`{path.stem}`" in of_evaluation, path


def test_an_import_inside_a_function_counts(tmp_path):
    inside = "def f():\n    from infomax_nb.b import x\n"
    graph = written(tmp_path, {"a.py": inside, "b.py": "import torch\n"})
    assert graph["infomax_nb.a"] == {"infomax_nb.b"}
    assert graph["infomax_nb.b"] == set()


def test_a_module_may_be_imported_by_each_kind_of_statement(tmp_path):
    sources = {
        "a.py": "import infomax_nb.folder.c\n",
        "b.py": "from infomax_nb.folder import c\n",
        "d.py": "from infomax_nb.folder.c import thing as another\n",
        "e.py": "from infomax_nb.folder import other\n",
        "folder/c.py": "thing = 1\n",
        "folder/__init__.py": "other = 1\n",
    }
    graph = written(tmp_path, sources)
    for name in "abd":
        assert graph[f"infomax_nb.{name}"] == {"infomax_nb.folder.c"}, name
    assert graph["infomax_nb.e"] == {"infomax_nb.folder"}


def test_a_cycle_through_others_is_found(tmp_path):
    sources = {
        "a.py": "from infomax_nb.b import x\n",
        "b.py": "def f():\n    import infomax_nb.c\n",
        "c.py": "from infomax_nb import a\n",
        "d.py": "from infomax_nb import a\n",
    }
    assert cycles(written(tmp_path, sources)) == [["infomax_nb.a", "infomax_nb.b", "infomax_nb.c"]]


def test_a_room_is_a_module_or_folder_of_the_package_or_the_pipeline():
    names = ["infomax_nb.losses", "infomax_nb.data.readers.common", "pipeline.site.stage"]
    assert [room_of(name) for name in names] == ["objective", "data", "pipeline"]


def test_every_arrow_leads_down():
    rooms = room_graph(import_graph())
    row_of = {room: height for height, row in enumerate(layers(rooms)) for room in row}
    together = [set(group) for group in cycles(rooms)]
    for room, used in rooms.items():
        for other in used:
            in_a_cycle = any({room, other} <= group for group in together)
            assert row_of[other] < row_of[room] or in_a_cycle, (room, other)


def test_what_others_imply_is_left_out():
    assert without_implied(ROOMS) == {"plan": {"train"}, "train": {"files"}, "files": set()}


def test_a_box_is_drawn_for_each_room():
    texts = [text.get_text() for text in draw(ROOMS).axes[0].texts]
    assert sorted(texts) == sorted(ROOMS)
