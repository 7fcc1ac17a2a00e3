"""The site as its readers have it: built with warnings as errors, crawled, opened in a browser.

All without a network. The browser is Debian's Chromium; the build and the crawler need none.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from browsing import Visit, needs_chromium, served
from bs4 import BeautifulSoup
from checkout import ROOT

WIDTHS = (390, 1440)  # a phone, a desk
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built anew as `make report` builds it, of the notebooks as they are stored."""
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "pipeline.site", str(folder), "--stored"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.strip()).parent


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


ATTRIBUTES = ("href", "src", "data", "poster", "srcset")
IN_A_STYLE = r"url\(\s*['\"]?([^'\")]+)"
IN_A_STYLE_SHEET = IN_A_STYLE + r"|@import\s+['\"]([^'\"]+)"


class Crawler:
    """Follows the links of a site from its first page on.

    `files` is all that can be reached, `wrong` what is missing or remote, by the page that has it.
    """

    def __init__(self, index: Path):
        self.root = index.parent
        self.files = {index}
        self.wrong: dict[Path, list[str]] = defaultdict(list)
        self.anchors: dict[Path, set[str]] = {}
        queue = [index]
        while queue:
            page = queue.pop()
            for target, loads in targets(page):
                file = self.follow(page, target, loads)
                if file and file not in self.files:
                    self.files.add(file)
                    queue.append(file)

    def follow(self, page: Path, target: str, loads: bool) -> Path | None:
        """The file that a link leads to; None for one that is wrong, or leads to no file here.

        `loads`: whether the browser fetches the target with the page.
        """
        if re.match(r"(https?:)?//", target):
            if loads:
                self.wrong[page].append(f"remote: {target}")
            return None
        if re.match(r"(data|mailto|javascript):", target) or target in ("", "#"):
            return None
        address, anchor = urldefrag(target)
        file = (page.parent / unquote(urlsplit(address).path)).resolve() if address else page
        if not file.is_file() or not file.is_relative_to(self.root):
            self.wrong[page].append(f"missing: {target}")
            return None
        if anchor and file.suffix == ".html" and unquote(anchor) not in self.names(file):
            self.wrong[page].append(f"no such anchor: {target}")
        return file

    def names(self, page: Path) -> set[str]:
        """The anchors of a page."""
        if page not in self.anchors:
            tags = soup(page).find_all(True)
            self.anchors[page] = {tag.get(key) for tag in tags for key in ("id", "name")}
        return self.anchors[page]


def targets(page: Path) -> Iterator[tuple[str, bool]]:
    """The links of a page or style sheet, and whether a browser fetches what they lead to."""
    if page.suffix == ".css":
        for target in re.findall(IN_A_STYLE_SHEET, page.read_text("utf-8")):
            yield "".join(target), True
    if page.suffix != ".html":
        return
    for tag in soup(page).find_all(True):
        is_canonical = tag.name == "link" and tag.get("rel") == ["canonical"]
        for attribute in ATTRIBUTES:
            target = tag.get(attribute)
            if target:
                address = target.split()[0] if attribute == "srcset" else target
                yield address, tag.name != "a" and not is_canonical
        for target in re.findall(IN_A_STYLE, tag.get("style") or ""):
            yield target, True


def test_nothing_is_missing_or_remote(site):
    crawler = Crawler(site / "index.html")
    faults = [f"{page}: {', '.join(what)}" for page, what in crawler.wrong.items()]
    assert not faults, "\n".join(faults)


def test_each_page_is_linked(site):
    pages = {page for page in site.rglob("*.html") if "_static" not in page.parts}
    linked = Crawler(site / "index.html").files
    assert pages - linked <= {site / "_modules" / "index.html"}, "pages that no page links to"


def test_each_notebook_has_all_its_pictures(site):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        pictures = path.read_text("utf-8").count('"image/png"')
        page = soup(site / "notebooks" / f"{path.stem}.html")
        assert len(page.select(".cell_output img")) == pictures, path.name


def test_each_result_has_its_figure_its_numbers_and_its_seeds(site):
    for folder in (path.parent for path in (ROOT / "reports").glob("*/caption.txt")):
        page = soup(site / "reports" / folder.name / "index.html").article
        assert page.select("figure img"), folder.name
        assert len(page.select("table")) == 2, folder.name
        records = json.loads((folder / "records.json").read_text())
        seeds = sorted({record.get("config", {}).get("seed") for record in records})
        words = f"Seeds{', '.join(map(str, seeds))}"
        assert words in page.text.replace("\n", ""), folder.name


def test_each_picture_has_an_alternative_text(site):
    for path in site.rglob("*.html"):
        if "_static" not in path.parts:
            silent = [image for image in soup(path).select("article img") if not image.get("alt")]
            assert not silent, (path.name, silent)


def test_each_module_is_in_the_reference(site):
    """Under its full name, on the page of its folder."""
    for path in (ROOT / "infomax_nb").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if name != "infomax_nb":
            page = soup(site / "api" / f"{parts[1]}.html")
            assert page.find(id=f"module-{name}"), name


def test_a_class_is_in_the_reference(site):
    names = {tag.get("id") for tag in soup(site / "api" / "losses.html").select("dt.sig")}
    assert "infomax_nb.losses.InfoMaxLoss" in names


def test_what_the_crawler_is_for(tmp_path):
    """It finds a missing file, page and anchor, and whatever a page would load from elsewhere."""
    (tmp_path / "style.css").write_text("@font-face { src: url(https://example.org/font.woff) }")
    (tmp_path / "other.html").write_text('<h1 id="here">Here</h1><a href="index.html">back</a>')
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css"><script src="//example.org/x.js"></script>'
        '<img src="missing.png"><a href="other.html#here">right</a>'
        '<a href="other.html#there">wrong</a><a href="gone.html">gone</a>'
        '<a href="https://example.org">elsewhere</a>'
    )
    crawler = Crawler(tmp_path / "index.html")
    assert {path.name for path in crawler.files} == {"index.html", "other.html", "style.css"}
    assert crawler.wrong[tmp_path / "style.css"] == ["remote: https://example.org/font.woff"]
    assert crawler.wrong[tmp_path / "index.html"] == [
        "remote: //example.org/x.js",
        "missing: missing.png",
        "no such anchor: other.html#there",
        "missing: gone.html",
    ]


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served."""
    with served(site) as place:
        yield place


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_reads_well(site, address, browser, width, scheme):
    visit = Visit(browser, width, address, scheme)
    faults = {}
    equations = 0
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    for path in paths:
        page = path.relative_to(site).as_posix()
        visit.open(f"{address}/{page}")
        faults[page] = visit.faults()
        equations += visit.page.locator("mjx-container").count()
    visit.context.close()
    lines = [f"{page}: {'; '.join(found)}" for page, found in faults.items() if found]
    assert not lines, "\n".join(lines)
    assert len(paths) > 40
    assert equations > 100


CLAIMS_IN_SIGHT = """() => [...document.querySelectorAll("table.claims tbody tr")]
  .filter(row => row.getBoundingClientRect().bottom <= innerHeight).length"""


@needs_chromium
def test_the_first_screen_answers(site, browser):
    visit = Visit(browser, 1440, site.as_uri(), height=900)
    visit.open(f"{site.as_uri()}/index.html")
    heading = visit.page.locator("article h1").bounding_box()
    in_sight = visit.page.evaluate(CLAIMS_IN_SIGHT)
    visit.context.close()
    assert heading["y"] < 200
    assert in_sight >= 8


@needs_chromium
def test_the_first_page_can_be_printed(site, browser):
    visit = Visit(browser, 1440, site.as_uri())
    visit.open(f"{site.as_uri()}/index.html")
    visit.page.emulate_media(media="print")
    shown = visit.page.locator(".bd-sidebar-primary").is_visible()
    pages = visit.page.pdf(format="A4").count(b"/Type /Page\n")
    visit.context.close()
    assert not shown
    assert 3 <= pages <= 15


CUT_OFF = "<div style='overflow: hidden'><pre style='width: 500px'>cut</pre></div>"
FAULTS = {  # what is put at the end of a page, and what must be said of it
    "<p style='width: 500px'>wide</p>": "the page is",
    CUT_OFF: "sticks out: PRE cut",
    "<span class='math notranslate nohighlight'>\\(\\frac\\)</span>": "wrong equation",
    "<span class='math'>x</span>": "not typeset: x",
    "<p class='mathjax_ignore'>$$x$$</p>": "raw LaTeX",
    "<img src='missing.png'>": "no picture",
    "<script>console.error('from a script')</script>": "from a script",
    "<script>missing()</script>": "missing is not defined",
    "<img src='https://example.org/x.png'>": "not loaded: https://example.org/x.png",
}


@needs_chromium
@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_browser_is_for(site, address, browser, fault):
    """Each fault in a page that is right without it is noticed."""
    right = site / "notebooks" / "00_loss_derivation.html"
    text = right.read_text("utf-8").replace("</article>", f"{fault}</article>", 1)
    wrong = right.with_name("wrong.html")
    wrong.write_text(text, "utf-8")
    visit = Visit(browser, 390, address)
    try:
        visit.open(f"{address}/notebooks/wrong.html")
        found = visit.faults()
    finally:
        wrong.unlink()
        visit.context.close()
    assert any(FAULTS[fault] in each for each in found), found


SEARCH_HAS_ENDED = """() =>
  !document.querySelector('#search-progress')?.textContent.includes('Searching')
"""


@needs_chromium
@pytest.mark.parametrize("served", [True, False], ids=["served", "opened as files"])
def test_search_finds_kappa(site, address, browser, served):
    """The way to the search is a reader's: the button, a word, the return key."""
    own = address if served else site.as_uri()
    visit = Visit(browser, 1440, own)
    visit.open(f"{own}/index.html")
    visit.page.locator("button.search-button-field, button.search-button__button").first.click()
    visit.page.locator("input[type=search]:visible").fill("kappa")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#search-results ul.search li a")
    visit.page.wait_for_function(SEARCH_HAS_ENDED)
    found = visit.page.locator("#search-results ul.search li > a").all_text_contents()
    visit.context.close()
    assert len(found) > 5, found
    assert any("03" in title for title in found), found
    assert not visit.complaints
