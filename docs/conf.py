"""Sphinx's settings. `pipeline/site/` gathers the pages' sources: build with `make report`."""

import re
from importlib import metadata

from pydantic import BaseModel

from infomax_nb.fields import in_words

project = "InfoMax on the hypersphere"
author = "the infomax-nb authors"
project_copyright = f"2026, {author}"
release = metadata.version("infomax-nb")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]

myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 3  # links to headings, as on GitHub
nb_execution_mode = "off"  # what was executed or stored is shown
nb_render_markdown_format = "myst"  # tables, which CommonMark does not have
nb_output_stderr = "remove"  # bars and news of a run's progress
# from the network by default; a page without a kernel shows the picture
nb_ipywidgets_js: dict = {}

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
viewcode_follow_imported_members = False  # what is documented is documented where it is defined
add_module_names = False
python_maximum_signature_line_length = 90
python_trailing_comma_in_multi_line_signatures = False
default_role = "py:obj"  # docstrings are plain text with names in single backquotes
napoleon_numpy_docstring = False
napoleon_preprocess_types = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
# A page opened as a file may not read others, which the search does for its extracts.
html_js_files = [
    ("states.js", {"defer": "defer"}),
    (
        None,
        {"body": "DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY &&= location.protocol !== 'file:';"},
    ),
]
html_context = {"default_mode": "auto"}
html_favicon = "_static/logo.svg"
html_domain_indices = False  # the reference lists the modules
html_sourcelink_suffix = ""
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": project},
    "navbar_persistent": [],  # the search is in the side bar
    "home_page_in_toc": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}


def escape_docstring(app, what, name, obj, options, lines):
    """Escape what only reStructuredText takes for markup: docstrings are read as plain text, too.

    Examples stay as they are.
    """
    paragraphs = "\n".join(lines).split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if paragraph.lstrip().startswith(">>>"):
            continue
        text = escape_paragraph(paragraph)
        if text.startswith("Returns: "):  # a block without a line of its own for its name
            text = text.replace("Returns: ", ":returns: ", 1).replace("\n", "\n   ")
        paragraphs[number] = text
    lines[:] = "\n\n".join(paragraphs).split("\n")
    if what == "property":  # or a line's words before a colon would be read as its type
        lines[:1] = lines[0].split(" ", 1)
    if what == "class" and issubclass(obj, BaseModel):
        lines += table_of_fields(obj)


def escape_paragraph(text):
    """Escape a paragraph, but for the names in backquotes."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [part.replace("\\", "\\\\").replace("|", r"\|") for part in parts[::2]]
    # a plural's s after a name
    parts[2::2] = [re.sub(r"^(?=\w)", r"\\ ", part) for part in parts[2::2]]
    return "".join(parts)


def table_of_fields(model):
    """Lines with a table of a model's fields: name, what is allowed, default."""
    head = ["   * - field", "     - allowed", "     - default"]
    lines = ["", ".. list-table::", "   :header-rows: 1", "", *head]
    for name, (_, allowed, default) in in_words(model).items():
        lines += [f"   * - ``{name}``", f"     - {allowed}", f"     - {default}"]
    return [*lines, ""]


def signature(app, what, name, obj, options, given, returned):
    """Leave a model's fields out of its signature: they stand in its table."""
    return ("(**values)", returned) if what == "class" and issubclass(obj, BaseModel) else None


def setup(app):
    """Escape before napoleon reads the blocks `Args:`, `Returns:`, `Raises:`."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    app.connect("autodoc-process-signature", signature)
