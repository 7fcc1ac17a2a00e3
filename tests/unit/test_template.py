"""The form that all notebooks have, so that a reader of one finds the way in each."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from infomax_nb.exercises import EXERCISES
from infomax_nb.figures.motion import LARGEST
from pipeline.site.notebooks import describe_pictures

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CLOSING = ["The paper says / we measured", "Summary", "Exercises", "Further reading"]
CAPTION = re.compile(r"\*Figure (\d+)\. [^*]+\*(\n|$)")
SHORT = 15  # lines of a cell
LONG = 30  # lines of one of the two longer cells

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str = "") -> list:
    cells = nbformat.read(path, 4).cells
    return [cell for cell in cells if not kind or cell.cell_type == kind]


def tags_of(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def text_of(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells_of(path, "markdown"))


def sections_of(path: Path) -> dict[str, str]:
    """The texts of a notebook's sections by their headings."""
    parts = re.split(r"(?m)^## (.+)$", text_of(path))
    return {heading.strip(): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def data_of(cell) -> list[dict]:
    return [output.get("data", {}) for output in cell.get("outputs", [])]


def has_picture(cell) -> bool:
    return any("image/png" in data for data in data_of(cell))


@each
def test_the_head_says_what_a_reader_decides_by(path):
    parts = cells_of(path)[0].source.split("\n\n")
    number = path.stem[:2]
    assert re.match(rf"# {number} · .+", parts[0])
    question, place, goals = parts[2:5]
    assert question.startswith("**The question.** ")
    assert question.rstrip().endswith("?")
    assert place.startswith("**In the paper.** ")
    assert goals == "**After it you can**"
    listed = parts[5].splitlines()
    assert 2 <= len(listed) <= 4
    assert all(line.startswith("- ") for line in listed)
    assert any(part.startswith("**Time.** ") for part in parts[6:])


@each
def test_a_notebook_links_to_the_ones_before_and_after(path):
    line = cells_of(path)[0].source.split("\n\n")[1]
    place = NOTEBOOKS.index(path)
    beside = [*NOTEBOOKS[max(place - 1, 0) : place], *NOTEBOOKS[place + 1 : place + 2]]
    assert re.findall(r"\]\(([^)]+)\)", line) == [neighbour.name for neighbour in beside]
    assert ("[←" in line) == (place > 0)
    assert ("→]" in line) == (place < len(NOTEBOOKS) - 1)


@each
def test_a_notebook_closes_as_all_do(path):
    headings = list(sections_of(path))
    closing = [heading for heading in headings if not heading.startswith("Appendix")][-4:]
    assert closing == CLOSING


@each
def test_every_section_leaves_something(path):
    for heading, text in sections_of(path).items():
        if heading not in CLOSING and not heading.startswith("Appendix"):
            last = [part for part in text.split("\n\n") if part.strip()][-1]
            assert last.strip().startswith("**Takeaway.** "), heading


@each
def test_claims_summary_and_exercises_are_short(path):
    sections = sections_of(path)
    rows = [line for line in sections[CLOSING[0]].splitlines() if line.startswith("|")]
    assert 1 <= len(rows) - 2 <= 6
    bullets = [line for line in sections["Summary"].splitlines() if line.startswith("- ")]
    assert len(bullets) == 3
    assert len(re.findall(r"(?m)^\d\. \*\*", sections["Exercises"])) == 3
    assert "<details>" in sections["Exercises"]
    works = [line for line in sections["Further reading"].splitlines() if line.startswith("- ")]
    assert 3 <= len(works) <= 5


@each
def test_figures_are_numbered_and_have_captions(path):
    cells = cells_of(path)
    captions = []
    for place, cell in enumerate(cells):
        if cell.cell_type == "code" and has_picture(cell):
            caption = CAPTION.match(cells[place + 1].source)
            assert caption, f"no caption below cell {place}: {cell.source[:60]}"
            captions.append(int(caption[1]))
    assert captions == list(range(1, len(captions) + 1))
    mentioned = [int(number) for number in re.findall(r"\bFigure (\d+)\. ", text_of(path))]
    assert set(captions) <= set(mentioned)


@each
def test_every_picture_has_its_caption_as_alternative_text(path):
    notebook = nbformat.read(path, 4)
    describe_pictures(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code" and has_picture(cell):
            assert cell.metadata["mystnb"]["image"]["alt"].startswith("Figure ")
            for data in data_of(cell):
                for image in re.findall(r"<img[^>]*>", data.get("text/html", "")):
                    assert re.search(r'alt="[^"]{40,}"', image)


@each
def test_pictures_are_large_enough_to_be_projected(path):
    for cell in cells_of(path, "code"):
        for data in data_of(cell):
            if "image/png" in data:
                picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
                assert picture.width >= 900, cell.source[:60]


@each
def test_films_are_small_and_animated(path):
    for cell in cells_of(path, "code"):
        for data in data_of(cell):
            for film in re.findall(r"data:image/webp;base64,([^\"]+)", data.get("text/html", "")):
                content = base64.b64decode(film)
                if 'class="film"' in data["text/html"]:
                    assert len(content) <= LARGEST
                    assert Image.open(io.BytesIO(content)).n_frames > 1
                    assert "nbval-ignore-output" in tags_of(cell)


FILMS = {"00": 2, "01": 1, "02": 2, "04": 1}  # at least


@pytest.mark.parametrize("number", FILMS)
def test_what_moves(number):
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(number)]
    assert path.read_text("utf-8").count('class=\\"film\\"') >= FILMS[number]


@each
def test_cells_are_short(path):
    written = [cell for cell in cells_of(path, "code") if "parameters" not in tags_of(cell)]
    longer = [cell for cell in written if len(cell.source.splitlines()) > SHORT]
    assert len(longer) <= 2, [cell.source[:60] for cell in longer]
    for cell in longer:
        assert "hide-input" in tags_of(cell), cell.source[:60]
        assert len(cell.source.splitlines()) <= LONG, cell.source[:60]


@each
def test_what_is_hidden_is_folded_in_jupyterlab_too(path):
    for cell in cells_of(path, "code"):
        hidden = bool(tags_of(cell) & {"hide-input", "remove-cell"})
        assert bool(cell.metadata.get("jupyter", {}).get("source_hidden")) == hidden


@each
def test_most_of_a_notebooks_code_is_seen(path):
    cells = [cell for cell in cells_of(path, "code") if "remove-cell" not in tags_of(cell)]
    hidden = [cell for cell in cells if "hide-input" in tags_of(cell)]
    assert len(hidden) <= 0.6 * len(cells)


NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")


def numbers_in(text: str) -> set[str]:
    return {number.replace(",", "").replace("−", "-") for number in NUMBER.findall(text)}


def written(answer: float) -> set[str]:
    """An answer as an output would write it, with one decimal or more, or as it stands."""
    return {str(answer), *(f"{answer:.{digits}f}" for digits in (1, 2, 3) if answer % 1)}


IN_NUMBERS = [name for name, asked in EXERCISES.items() if not asked.words]


@pytest.mark.parametrize("exercise", IN_NUMBERS)
def test_no_stored_output_answers_an_exercise(exercise):
    """All numbers of an answer, as they are written, in one output."""
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(exercise[:2])]
    answer = EXERCISES[exercise].answer
    for cell in cells_of(path, "code"):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found = numbers_in(output.get("text", "") + data.get("text/plain", ""))
            assert not all(written(float(item)) & found for item in answer), cell.source[:60]


@each
def test_one_exercise_asks_before_anything_runs(path):
    """A derivation, or a prediction that is checked by running."""
    text = sections_of(path)["Exercises"]
    assert re.search(r"\*(Derive|Predict)[^*]*\*", text)


def test_each_exercise_has_its_hint_and_its_answer_for_instructors():
    answers = (ROOT / "docs" / "instructors.md").read_text("utf-8")
    for exercise in json.loads((ROOT / "infomax_nb" / "exercises.json").read_text("utf-8")):
        assert f'check("{exercise}"' in answers


ORDERS = ("An hour", "An afternoon", "A course")


def test_readme_and_00_give_the_same_reading_orders():
    """The site shows README's section."""
    readme = (ROOT / "README.md").read_text("utf-8").partition("## Three ways in")[2]
    found = [_order(text, order) for text in (readme, text_of(NOTEBOOKS[0])) for order in ORDERS]
    assert found[:3] == found[3:]
    assert found[1] == ["02", "03", "04", "08"]


def _order(text: str, order: str) -> list[str]:
    """The notebooks and Sections that an order names."""
    start = re.search(rf"\*+{order}\*+:?", text)
    assert start, order
    sentence = re.split(r"\.\s", text[start.end() :].replace(".ipynb", ""))[0]
    named = re.sub(r"\]\([^)]*\)", "", sentence).replace("this notebook", "notebook 00")
    return re.findall(r"\b\d\d?\b|\ball\b", named)
