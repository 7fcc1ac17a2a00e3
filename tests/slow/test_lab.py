"""`make lab` as a student meets it: JupyterLab in Debian's Chromium, every notebook by "Run All",
sliders moved."""

import base64
import io
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress

import nbformat
import numpy as np
import psutil
import pytest
from checkout import ROOT, environment
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium, Debian's package chromium, is not installed"
)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SLIDERS = {
    "00": ["κ of the kernel", "concentration of the points", "D, dimensions"],
    "03": ["κ"],
    "07": ["clusters"],
}
WITH_SLIDERS = [path for path in NOTEBOOKS if path.stem[:2] in SLIDERS]
TOKEN = "a-token-for-this-test"
TRAINING = (
    1800  # seconds for one notebook: where no run is there to be reused, it trains up to seven
)
IDLE = "Python 3 (ipykernel) | Idle"  # in the status bar, once the notebook has a kernel


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """`make lab` in a folder to which notebooks are copied, with settings of its own: its address
    and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --allow-root"
    command = [
        "make",
        "-f",
        ROOT / "Makefile",
        "-C",
        folder,
        "-o",
        ".venv/.ready",
        "lab",
        f"LAB={flags}",
    ]
    places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
    own = {
        f"JUPYTER{'' if place[:3] == 'LAB' else '_'}{place}": str(folder / "own" / place)
        for place in places
    }
    own |= {"IPYTHONDIR": str(folder / "own" / "ipython"), "JUPYTER_TOKEN": TOKEN}
    with (folder / "log").open("w") as log:
        group = {
            "stdin": subprocess.DEVNULL,
            "stdout": log,
            "stderr": log,
            "start_new_session": True,
        }
        server = subprocess.Popen(command, env=environment(folder, **own), **group)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(
            lambda: answers(f"{address}/api/status?token={TOKEN}"),
            120,
            lambda: (folder / "log").read_text(),
        )
        yield address, folder
    finally:
        started = (
            psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
        )
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        for process in psutil.wait_procs(started, 30)[1]:
            process.kill()
        server.wait(30)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, lab):
    """An empty page. What it has complained of in the end fails the test; kernels are shut down,
    they hold memory."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    complaints = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    kernels = f"{lab[0]}/api/sessions?token={TOKEN}"
    for session in page.request.get(kernels).json():
        page.request.delete(f"{lab[0]}/api/sessions/{session['id']}?token={TOKEN}")
    page.close()
    assert not complaints, "\n".join(complaints)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def wait_for(happens, seconds, what):
    """What `happens` returns once it is true."""
    end = time.monotonic() + seconds
    while not (result := happens()):
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.25)
    return result


def answers(address) -> bool:
    with suppress(OSError), urllib.request.urlopen(address) as reply:
        return reply.status == 200
    return False


def run_all(page: Page, lab, name: str) -> None:
    """Open a copy without outputs, Run All Cells by the menu, wait for the end; AssertionError
    names a failing cell."""
    address, folder = lab
    empty = nbformat.read(ROOT / "notebooks" / name, 4)
    for cell in code(empty):
        cell.update(outputs=[], execution_count=None)
    nbformat.write(empty, folder / "notebooks" / name)
    page.goto(f"{address}/lab/tree/notebooks/{name}?token={TOKEN}&reset")
    page.get_by_text(IDLE).wait_for(timeout=120_000)
    page.locator(".lm-MenuBar-item:has-text('Run')").click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def through():
        page.get_by_text(IDLE).wait_for(timeout=TRAINING * 1000)
        page.keyboard.press(
            "Control+s"
        )  # the file has every cell; the page only those that are near the view
        time.sleep(1)
        notebook = nbformat.read(folder / "notebooks" / name, 4)
        for number, cell in enumerate(notebook.cells):
            for output in cell.get("outputs", []):
                failed = f"{name}, cell {number} ({cell.id})"
                assert output.output_type != "error", (
                    f"{failed}: {output.get('ename')}: {output.get('evalue')}"
                )
        return all(cell.execution_count for cell in code(notebook))

    wait_for(through, TRAINING, lambda: f"Run All of {name}")


def slider(page: Page, description: str) -> Locator:
    """The slider with this description, in view."""
    found = page.locator(".widget-slider").filter(has=page.get_by_text(description, exact=True))
    expect(found).to_have_count(1, timeout=60_000)
    found.scroll_into_view_if_needed()
    return found


def picture(of: Locator) -> str:
    """The address, which holds the pixels, of the picture below a slider; empty where there is
    none."""
    sources = output(of).locator("img").evaluate_all("images => images.map(image => image.src)")
    return "".join(sources[-1:])


def output(of: Locator) -> Locator:
    """All that stands below the code cell that a slider belongs to."""
    return of.page.locator(".jp-Cell-outputArea").filter(has=of)


def pixels(source: str) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))).convert("RGB")
    )


def changed(before: str, after: str) -> float:
    """The share of pixels that differ."""
    a, b = pixels(before), pixels(after)
    return 1.0 if a.shape != b.shape else float((a != b).any(-1).mean())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_sliders_change_their_pictures(notebook, lab, page):
    run_all(page, lab, notebook.name)
    sliders = SLIDERS.get(notebook.stem[:2], [])
    expect(page.locator(".widget-slider")).to_have_count(len(sliders))
    for description in sliders:
        move(page, description)
    page.screenshot(
        path=lab[1] / f"{notebook.stem}.png"
    )  # to be looked at, beside the server's log


def move(page: Page, description: str) -> None:
    """Move a slider by two steps, with the arrow keys; AssertionError where the picture stays, or
    an error comes."""
    moved = slider(page, description)
    handle, reads = moved.locator(".noUi-handle"), moved.locator(".widget-readout").inner_text()
    before = wait_for(
        lambda: picture(moved), 60, lambda: f"a picture; there is: {output(moved).inner_text()}"
    )
    page.wait_for_timeout(1000)
    assert not changed(before, picture(moved)), "nobody has moved it"
    lowest = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    handle.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight" if lowest else "ArrowLeft")
    another_picture(moved, before)
    page.get_by_text(IDLE).wait_for(timeout=60_000)
    assert moved.locator(".widget-readout").inner_text() != reads
    assert changed(before, picture(moved)) > 0.002, description
    assert "Traceback" not in output(moved).inner_text()


def another_picture(moved: Locator, before: str) -> None:
    def says():
        return f"another picture; there is: {output(moved).inner_text()}"

    wait_for(lambda: picture(moved) not in ("", before), 60, says)


def test_a_drag_draws_once(lab, page):
    """Nothing is computed while a slider is held; let go, one picture follows, not one for each
    place on the way."""
    run_all(page, lab, NOTEBOOKS[0].name)
    moved = slider(page, SLIDERS["00"][0])
    before = wait_for(
        lambda: picture(moved), 60, lambda: f"a picture; there is: {output(moved).inner_text()}"
    )
    output(moved).evaluate(
        """output => { window.seen = []; new MutationObserver(() => window.seen.push(
             ...[...output.querySelectorAll("img")].map(image => image.src).filter(src => !window.seen.includes(src))
           )).observe(output, {subtree: true, childList: true, attributes: true}); }"""
    )
    moved.locator(
        ".noUi-handle"
    ).scroll_into_view_if_needed()  # the mouse only reaches what is on the screen
    page.wait_for_timeout(1000)
    handle = moved.locator(".noUi-handle").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(x - 3 * step, y)
        page.wait_for_timeout(50)
    page.wait_for_timeout(3000)
    drawn = set(page.evaluate("window.seen")) - {before}
    assert not drawn, f"{len(drawn)} pictures while it was held"
    page.mouse.up()
    another_picture(moved, before)
    page.wait_for_timeout(5000)
    drawn = set(page.evaluate("window.seen")) - {before}
    assert len(drawn) == 1, f"{len(drawn)} pictures of one drag"


@pytest.mark.parametrize("notebook", WITH_SLIDERS, ids=lambda path: path.stem)
def test_without_a_kernel_there_is_a_picture(notebook):
    """What is stored, and so what the site shows, where a slider would be."""
    assert "vnd.jupyter.widget" not in notebook.read_text()
    cells = [
        cell for cell in code(nbformat.read(notebook, 4)) if "ipywidgets.interact(" in cell.source
    ]
    assert len(cells) == 1 and any(
        "image/png" in output.get("data", {}) for output in cells[0].outputs
    )
