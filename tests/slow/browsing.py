"""A browser that a test drives: Debian's Chromium, without a network."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
MISSING = "Chromium is not installed: apt-get install chromium"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Where a folder is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Visit:
    """A page of the browser at one width, and what it complains about.

    Nothing but the site can be reached.
    """

    def __init__(self, browser, width: int, own: str, scheme: str = "light", height: int = 844):
        self.own = own
        window = {"width": width, "height": height}
        self.context = browser.new_context(viewport=window, color_scheme=scheme)
        self.context.set_default_timeout(120_000)  # milliseconds: a machine may be busy
        self.page = self.context.new_page()
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        """Open a page and wait until its equations are typeset and its pictures are there."""
        self.page.close()  # what it has still under way is not the next one's
        self.page = self.context.new_page()
        self.complaints = []
        self.listen(self.complaints.append)
        self.page.route("**/*", self.stay_within_the_site)
        self.page.goto(url, wait_until="load")
        if self.page.query_selector(".math"):
            self.page.wait_for_function("() => window.MathJax?.startup?.promise")
            self.page.evaluate("() => MathJax.startup.promise")
        self.page.evaluate("() => document.fonts.ready.then(() => null)")

    def listen(self, complain) -> None:
        """Have all complaints of the page."""

        def console(message) -> None:
            if message.type in ("error", "warning"):
                complain(message.text)

        def response(reply) -> None:
            if reply.status >= 400:
                complain(f"{reply.status}: {reply.url}")

        self.page.on("console", console)
        self.page.on("pageerror", lambda error: complain(str(error)))
        self.page.on("requestfailed", lambda request: complain(f"not loaded: {request.url}"))
        self.page.on("response", response)

    def stay_within_the_site(self, route) -> None:
        if route.request.url.startswith((self.own, "data:")):
            route.continue_()
        else:
            route.abort()

    def faults(self) -> list[str]:
        """What a reader would see to be wrong."""
        return self.page.evaluate(LOOK) + self.complaints


# What a reader would see: equations that are not typeset or wrong, pictures that do not load, a
# page that is wider than the window, and things that stick out of it without a box of their own
# that scrolls.
LOOK = r"""() => {
  const article = document.querySelector("article"), found = [];
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container"))
      found.push("not typeset: " + math.textContent.slice(0, 60));
  for (const error of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    found.push("wrong equation: " + error.textContent.slice(0, 60));
  for (const image of document.querySelectorAll("article img"))
    if (!(image.complete && image.naturalWidth))
      found.push("no picture: " + image.src.slice(0, 100));
  const wide = document.documentElement.scrollWidth;
  if (wide > window.innerWidth) found.push(`the page is ${wide} pixels wide`);
  const scrolls = e => e && e !== document.body &&
    (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const shown = "img, table, pre, code, mjx-container, dt, h1, h2, h3, p, li";
  for (const e of document.querySelectorAll(`article :is(${shown})`)) {
    const box = e.getBoundingClientRect();
    const outside = box.right > window.innerWidth + 1 || box.left < -1;
    if (box.width && outside && !scrolls(e.parentElement))
      found.push(`sticks out: ${e.tagName} ${e.textContent.slice(0, 60)}`);
  }
  const text = document.createElement("div");
  text.append(...(article ? [article.cloneNode(true)] : []));
  text.querySelectorAll("pre, code, mjx-container, script, style").forEach(e => e.remove());
  const raw = text.textContent.match(/\$\$|\\[a-z]+\{|\\\(|\\\[/);
  if (raw) found.push("raw LaTeX: " + text.textContent.slice(raw.index, raw.index + 60));
  return found;
}"""
