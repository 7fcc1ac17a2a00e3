"""`python -m pipeline.architecture` draws which rooms of the code use which.

A room is a module or folder of `infomax_nb`, or `pipeline`. What a room uses is read from its
imports, including those inside functions. The picture is `docs/_static/architecture.svg`. Arrows
point down; red ones join rooms that use each other. An arrow that others imply is left out.
"""

import ast
import json
from collections.abc import Container, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from infomax_nb.files import atomic_write, project_root
from pipeline.command import takes_nothing

PACKAGES = ("infomax_nb", "pipeline")
SWEEPS = 8  # passes in which rooms find their places
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
# Modules that share a room. The losses and their parts are one room, and so are the modules that
# each hold one small thing used everywhere.
SHARED_ROOMS = {"losses": "objective", "small_maps": "models", "infomax_nb": "small things"}
# The command line is read beside the configuration, and handed to what trains.
SHARED_ROOMS |= {"fields": "config", "command": "config", "__main__": "train"}
SHARED_ROOMS |= dict.fromkeys(
    (
        "device",
        "distributed",
        "errors",
        "files",
        "notebook",
        "parsing",
        "seeds",
        "symbols",
        "threads",
    ),
    "small things",
)
GREY = "#777777"
RED = "#c0392b"
Graph = dict[str, set[str]]  # what each name imports


# --- Modules ----------------------------------------------------------------------------------


def import_graph(root: Path | None = None) -> Graph:
    """The modules that each module of the packages imports, by full names.

    Args:
        root: the folder that holds the packages; None means the project's.
    """
    root = root or project_root()
    paths = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            paths[name.removesuffix(".__init__")] = path
    graph = {}
    for name, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name] = set(_imported(tree, paths.keys())) - {name}
    return graph


def _imported(tree: ast.Module, modules: Container[str]) -> Iterator[str]:
    """Those of the modules that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            inside = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in modules else base for name in inside]
        yield from (name for name in names if name in modules)


def cycles(graph: Graph) -> list[list[str]]:
    """Groups of names that import each other, directly or through others; empty if all is well.

    >>> cycles({"a": {"b"}, "b": {"a"}, "c": {"a"}})
    [['a', 'b']]
    """
    groups = nx.strongly_connected_components(_directed(graph))
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _directed(graph: Graph) -> nx.DiGraph:
    return nx.DiGraph({name: sorted(used) for name, used in sorted(graph.items())})


# --- Rooms ------------------------------------------------------------------------------------


def room_of(module: str) -> str:
    """The room that a module is in.

    >>> room_of("infomax_nb.data.readers.common"), room_of("pipeline.plan")
    ('data', 'pipeline')
    """
    parts = module.split(".")
    room = parts[1] if parts[0] == "infomax_nb" and len(parts) > 1 else parts[0]
    return SHARED_ROOMS.get(room, room)


def room_graph(modules: Graph) -> Graph:
    """The rooms that each room imports."""
    rooms: Graph = {}
    for module, imported in modules.items():
        rooms.setdefault(room_of(module), set()).update(map(room_of, imported))
    return {room: used - {room} for room, used in rooms.items()}


# --- Picture ----------------------------------------------------------------------------------


def without_implied(graph: Graph) -> Graph:
    """The graph without implied imports: a need not import c if a imports b, and b imports c.

    >>> without_implied({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    {'a': {'b'}, 'b': {'c'}, 'c': set()}
    """
    groups = nx.condensation(_directed(graph))  # the names of a cycle are one group
    group = groups.graph["mapping"]
    direct = nx.transitive_reduction(groups)
    kept: Graph = {name: set() for name in graph}
    for name, used in graph.items():
        for other in used:
            if group[name] == group[other] or direct.has_edge(group[name], group[other]):
                kept[name].add(other)
    return kept


def layers(graph: Graph) -> list[list[str]]:
    """The names from the bottom up, each above all that it imports; a cycle's are side by side.

    >>> layers({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()})
    [['c', 'd'], ['b'], ['a']]
    """
    groups = nx.condensation(_directed(graph))
    members = groups.nodes(data="members")
    rows = nx.topological_generations(groups.reverse())
    return [sorted(name for group in row for name in members[group]) for row in rows]


def with_bends(graph: Graph) -> tuple[Graph, list[list[str]]]:
    """The graph with an extra name where an arrow crosses a layer, and the names along each arrow.

    So an arrow gets its own place in the layers that it crosses, and does not run behind a box.
    """
    rows = layers(graph)
    height = {name: k for k, row in enumerate(rows) for name in row}
    bent: Graph = {name: set() for name in graph}
    arrows = []
    for name, other in sorted((name, other) for name, used in graph.items() for other in used):
        passed = range(height[name] - 1, height[other], -1)
        arrow = [name, *(f"{name} {other} {k}" for k in passed), other]
        for start, end in pairwise(arrow):
            bent.setdefault(start, set()).add(end)
        arrows.append(arrow)
    return bent, arrows


def places(graph: Graph) -> dict[str, tuple[float, float]]:
    """The place of each name: x from 0 to 1, near its imports and importers; y, its layer.

    Args:
        graph: imports that cross no layer.
    """
    near = {name: set(used) for name, used in graph.items()}
    for name, used in graph.items():
        for other in used:
            near[other].add(name)
    rows = layers(graph)
    x = dict.fromkeys(graph, 0.5)
    for _ in range(SWEEPS):
        for row in rows:
            row.sort(key=lambda name: np.mean([x[other] for other in near[name]] or [0.5]))
            for k, name in enumerate(row):
                x[name] = (k + 0.5) / len(row)
    return {name: (x[name], y) for y, row in enumerate(rows) for name in row}


def draw(graph: Graph) -> Figure:
    """Draw a box for each room, and arrows to the rooms that it imports, except implied ones."""
    graph = without_implied(graph)
    bent, arrows = with_bends(graph)
    at = places(bent)
    figure, axis = plt.subplots(figsize=(10, 8), layout="constrained")
    frame = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3f8", "edgecolor": "#35618e"}
    boxes = {}
    for name in graph:
        text = axis.text(*at[name], name, ha="center", va="center", size=12, bbox=frame)
        boxes[name] = text.get_bbox_patch()
    for arrow in arrows:
        for start, end in pairwise(arrow):
            style: dict[str, Any] = {"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "color": GREY}
            if end == arrow[-1]:
                style |= {"arrowstyle": "->", "shrinkB": 2, "mutation_scale": 14}
            if at[start][1] == at[end][1]:  # in a cycle: all other arrows point down
                style |= {"color": RED, "connectionstyle": "arc3,rad=0.3"}
            style |= {"patchA": boxes.get(start), "patchB": boxes.get(end)}
            axis.add_patch(FancyArrowPatch(at[start], at[end], **style))
    axis.set(xlim=(0, 1), ylim=(-0.6, max(y for _, y in at.values()) + 0.6))
    axis.axis("off")
    return figure


# --- File -------------------------------------------------------------------------------------


def picture() -> Path:
    """The picture's path."""
    return project_root() / "docs" / "_static" / "architecture.svg"


def drawn_graph(path: Path) -> Graph:
    """The graph that a picture was drawn from, read from the description in its file."""
    text = ElementTree.parse(path).findtext(f".//{DESCRIPTION}")
    return {room: set(used) for room, used in json.loads(text or "{}").items()}


def main() -> None:
    """Draw the picture, and name rooms that use each other."""
    takes_nothing("architecture", __doc__)
    rooms = room_graph(import_graph())
    as_lists = {room: sorted(used) for room, used in sorted(rooms.items())}
    about = {"Description": json.dumps(as_lists), "Date": None}
    figure = draw(rooms)
    with plt.rc_context({"svg.hashsalt": "architecture"}):  # the same graph gives the same file
        atomic_write(picture(), lambda p: figure.savefig(p, format="svg", metadata=about))
    print(picture().relative_to(project_root()))
    for group in cycles(rooms):
        print(f"Rooms that use each other: {', '.join(group)}")


if __name__ == "__main__":
    main()
