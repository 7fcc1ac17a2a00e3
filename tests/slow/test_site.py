"""The site as its readers have it: built with warnings as errors, crawled, and opened in a browser
without a network.

The browser is Debian's Chromium; the build and the crawler need none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup
from checkout import ROOT, run, tracked

WIDTHS = (390, 1440)  # a phone, a desk
CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built anew as `make site` builds it."""
    command = [sys.executable, "-m", "pipeline.site", str(tmp_path_factory.mktemp("site"))]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.strip()).parent


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


def crawl(index: Path) -> tuple[set[Path], dict[Path, list[str]]]:
    """All files that can be reached from a page, and what is wrong with each: what is missing, what
    is remote."""
    root, queue, seen, wrong = index.parent, [index], {index}, defaultdict(list)
    anchors: dict[Path, set[str]] = {}

    def names(page: Path) -> set[str]:
        if page not in anchors:
            anchors[page] = {
                t.get(a) for t in soup(page).find_all(True) for a in ("id", "name") if t.get(a)
            }
        return anchors[page]

    def follow(page: Path, target: str, loads: bool) -> None:
        if re.match(r"(https?:)?//", target):
            if loads:
                wrong[page].append(f"remote: {target}")
            return
        if re.match(r"(data|mailto|javascript):", target) or target in ("", "#"):
            return
        address, anchor = urldefrag(target)
        file = (page.parent / unquote(urlsplit(address).path)).resolve() if address else page
        if not file.is_file() or not file.is_relative_to(root):
            wrong[page].append(f"missing: {target}")
        else:
            if anchor and file.suffix == ".html" and unquote(anchor) not in names(file):
                wrong[page].append(f"no such anchor: {target}")
            if file not in seen:
                seen.add(file)
                queue.append(file)

    while queue:
        page = queue.pop()
        if page.suffix == ".css":
            for target in re.findall(
                r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", page.read_text("utf-8")
            ):
                follow(page, "".join(target), loads=True)
        if page.suffix != ".html":
            continue
        for tag in soup(page).find_all(True):
            for attribute in ("href", "src", "data", "poster", "srcset"):
                if target := tag.get(attribute):
                    loads = tag.name != "a" and (tag.name, tag.get("rel")) != (
                        "link",
                        ["canonical"],
                    )
                    follow(page, target.split()[0] if attribute == "srcset" else target, loads)
            if style := tag.get("style"):
                for target in re.findall(r"url\(\s*['\"]?([^'\")]+)", style):
                    follow(page, target, loads=True)
    return seen, dict(wrong)


def test_nothing_is_missing_or_remote(site):
    seen, wrong = crawl(site / "index.html")
    assert not wrong, "\n".join(
        f"{page.relative_to(site)}: {', '.join(what)}" for page, what in wrong.items()
    )
    pages = {p for p in site.rglob("*.html") if "_static" not in p.parts}
    assert pages - seen <= {site / "_modules" / "index.html"}, "pages that no page links to"


def test_everything_is_there(site):
    """Each notebook with all its pictures, each result with its figure and numbers, each module."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        pictures = path.read_text("utf-8").count('"image/png"')
        assert (
            len(soup(site / "notebooks" / f"{path.stem}.html").select(".cell_output img"))
            == pictures
        ), path.name
    for folder in (p.parent for p in (ROOT / "reports").glob("*/caption.txt")):
        page = soup(site / "reports" / folder.name / "index.html").article
        assert page.select("figure img") and len(page.select("table")) == 2, folder.name
        seeds = {
            r.get("config", {}).get("seed")
            for r in json.loads((folder / "records.json").read_text())
        }
        assert f"Seeds{', '.join(map(str, sorted(seeds)))}" in page.text.replace("\n", ""), (
            folder.name
        )
    for path in (ROOT / "infomax_nb").glob("*.py"):
        assert path.stem == "__init__" or (site / "api" / f"{path.stem}.html").is_file(), path.name
    functions = soup(site / "api" / "losses.html").select("dt.sig")
    assert "infomax_nb.losses.InfoMaxLoss" in {f.get("id") for f in functions}


def test_what_the_crawler_is_for(tmp_path):
    """It finds a missing file, page and anchor, and whatever a page would load from elsewhere."""
    (tmp_path / "style.css").write_text("@font-face { src: url(https://example.org/font.woff) }")
    (tmp_path / "other.html").write_text('<h1 id="here">Here</h1><a href="index.html">back</a>')
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css"><script src="//example.org/x.js"></script><img src="missing.png">'
        '<a href="other.html#here">right</a><a href="other.html#there">wrong</a><a href="gone.html">gone</a>'
        '<a href="https://example.org">elsewhere</a>'
    )
    seen, wrong = crawl(tmp_path / "index.html")
    assert {p.name for p in seen} == {"index.html", "other.html", "style.css"}
    assert wrong[tmp_path / "style.css"] == ["remote: https://example.org/font.woff"]
    assert wrong[tmp_path / "index.html"] == [
        "remote: //example.org/x.js",
        "missing: missing.png",
        "no such anchor: other.html#there",
        "missing: gone.html",
    ]


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


class Visit:
    """A page of the browser at one width, and what it complains about; nothing but the site can be
    reached."""

    def __init__(self, browser, width: int, own: str):
        self.own, self.context = own, browser.new_context(viewport={"width": width, "height": 844})
        self.context.set_default_timeout(120_000)  # milliseconds: a machine may be busy
        self.page, self.complaints = self.context.new_page(), []

    def open(self, url: str) -> None:
        """Open a page and wait until its equations are typeset and its pictures are there."""
        self.page.close()  # what it has still under way is not the next one's
        self.page, said = self.context.new_page(), []
        self.complaints = said
        self.page.on(
            "console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: said.append(str(error)))
        self.page.on("requestfailed", lambda r: said.append(f"not loaded: {r.url}"))
        self.page.on(
            "response", lambda r: said.append(f"{r.status}: {r.url}") if r.status >= 400 else None
        )
        self.page.route(
            "**/*",
            lambda r: r.continue_() if r.request.url.startswith((self.own, "data:")) else r.abort(),
        )
        self.page.goto(url, wait_until="load")
        if self.page.query_selector(".math"):
            self.page.wait_for_function("() => window.MathJax?.startup?.promise")
            self.page.evaluate("() => MathJax.startup.promise")
        self.page.evaluate("() => document.fonts.ready.then(() => null)")


# What a reader would see: equations that are not typeset or wrong, pictures that do not load, a
# page that is wider than the window, and things that stick out of it without a box of their own
# that scrolls.
LOOK = r"""() => {
  const article = document.querySelector("article"), found = [];
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container")) found.push("not typeset: " + math.textContent.slice(0, 60));
  for (const error of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    found.push("wrong equation: " + error.textContent.slice(0, 60));
  for (const image of document.querySelectorAll("article img"))
    if (!(image.complete && image.naturalWidth)) found.push("no picture: " + image.src.slice(0, 100));
  const wide = document.documentElement.scrollWidth;
  if (wide > window.innerWidth) found.push(`the page is ${wide} pixels wide`);
  const scrolls = e => e && e !== document.body &&
    (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const shown = "img, table, pre, code, mjx-container, dt, h1, h2, h3, p, li";
  for (const e of document.querySelectorAll(`article :is(${shown})`)) {
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > window.innerWidth + 1 || box.left < -1) && !scrolls(e.parentElement))
      found.push(`sticks out: ${e.tagName} ${e.textContent.slice(0, 60)}`);
  }
  const text = document.createElement("div");
  text.append(...(article ? [article.cloneNode(true)] : []));
  text.querySelectorAll("pre, code, mjx-container, script, style").forEach(e => e.remove());
  const raw = text.textContent.match(/\$\$|\\[a-z]+\{|\\\(|\\\[/);
  if (raw) found.push("raw LaTeX: " + text.textContent.slice(raw.index, raw.index + 60));
  return found;
}"""


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_reads_well(site, address, browser, width):
    visit, wrong, equations = Visit(browser, width, address), {}, 0
    pages = [
        p.relative_to(site).as_posix()
        for p in sorted(site.rglob("*.html"))
        if "_static" not in p.parts
    ]
    for page in pages:
        visit.open(f"{address}/{page}")
        if found := visit.page.evaluate(LOOK) + visit.complaints:
            wrong[page] = found
        equations += visit.page.locator("mjx-container").count()
    visit.context.close()
    assert not wrong, "\n".join(f"{page}: {'; '.join(found)}" for page, found in wrong.items())
    assert len(pages) > 40 and equations > 100


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_page_reads_well(tmp_path, browser, width):
    """`reports/index.html` of the committed results and the notebooks' stored outputs."""
    copy = tracked(tmp_path)
    shutil.copytree(copy / "notebooks", copy / "reports" / "notebooks")
    written = run(copy, [sys.executable, "-m", "pipeline.index"])
    assert written.returncode == 0, written.stderr
    visit = Visit(browser, width, copy.as_uri())
    visit.open(f"{copy.as_uri()}/reports/index.html")
    found = visit.page.evaluate(LOOK) + visit.complaints
    assert (
        visit.page.locator("article table").count() > 10 < visit.page.locator("article img").count()
    )
    visit.context.close()
    assert not found, "\n".join(found)


FAULTS = {  # what is put at the end of a page, and what must be said of it
    "<p style='width: 500px'>wide</p>": "the page is",
    "<div style='overflow: hidden'><pre style='width: 500px'>cut</pre></div>": "sticks out: PRE cut",
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
    right, visit = site / "notebooks" / "00_loss_derivation.html", Visit(browser, 390, address)
    wrong = right.with_name("wrong.html")
    wrong.write_text(
        right.read_text("utf-8").replace("</article>", f"{fault}</article>", 1), "utf-8"
    )
    try:
        visit.open(f"{address}/notebooks/wrong.html")
        found = visit.page.evaluate(LOOK) + visit.complaints
    finally:
        wrong.unlink()
        visit.context.close()
    assert any(FAULTS[fault] in each for each in found), found


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
    visit.page.wait_for_function(
        "() => !document.querySelector('#search-progress')?.textContent.includes('Searching')"
    )
    found = visit.page.locator("#search-results ul.search li > a").all_text_contents()
    visit.context.close()
    assert len(found) > 5 and any("03" in title for title in found), found
    assert not visit.complaints
