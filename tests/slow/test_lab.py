"""`make lab` as a student meets it, in Debian's Chromium: "Run All", and sliders are moved."""

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
MISSING = "Chromium, Debian's package chromium, is not installed"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SLIDERS = {
    "00": [
        "κ of the kernel",
        "concentration of the points",
        "κ in many dimensions",
        "D, dimensions",
    ],
    "03": ["κ"],
    "07": ["clusters"],
}
WITH_SLIDERS = [path for path in NOTEBOOKS if path.stem[:2] in SLIDERS]
TOKEN = "a-token-for-this-test"
# Seconds for one notebook: where no run is there to be reused, it trains up to seven.
TRAINING = 1800
IDLE = "Python 3 (ipykernel) | Idle"  # in the status bar, once the notebook has a kernel


def own_settings(folder) -> dict[str, str]:
    """The environment in which Jupyter has its settings below a folder."""
    own = {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_TOKEN": TOKEN}
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        own[f"JUPYTER_{name}"] = str(folder / name)
    for name in ("SETTINGS_DIR", "WORKSPACES_DIR"):
        own[f"JUPYTERLAB_{name}"] = str(folder / f"LAB_{name}")
    return own


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def stop(server: subprocess.Popen) -> None:
    """End a server and its kernels."""
    started = []
    if server.poll() is None:
        started = psutil.Process(server.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    for process in psutil.wait_procs(started, 30)[1]:
        process.kill()
    server.wait(30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """`make lab` where notebooks are copied to: its address and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    flags = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --allow-root"
    make = ["make", "-f", ROOT / "Makefile", "-C", folder, "-o", ".venv/.ready"]
    own = environment(folder, **own_settings(folder / "own"))
    with (folder / "log").open("w") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        command = [*make, "lab", f"LAB={flags}"]
        server = subprocess.Popen(command, env=own, start_new_session=True, **streams)
    try:
        status = f"{address}/api/status?token={TOKEN}"
        wait_for(lambda: answers(status), 120, lambda: (folder / "log").read_text())
        yield address, folder
    finally:
        stop(server)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, lab):
    """An empty page, whose complaints fail the test in the end.

    Kernels are shut down: they hold memory.
    """
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    complaints = []

    def console(message) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", console)
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
    result = happens()
    while not result:
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.25)
        result = happens()
    return result


def answers(address) -> bool:
    with suppress(OSError), urllib.request.urlopen(address) as reply:
        return reply.status == 200
    return False


def run_all(page: Page, lab, name: str) -> None:
    """Open a copy without outputs, Run All Cells by the menu, wait for the end."""
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
        # The file has every cell; the page only those that are near the view.
        page.keyboard.press("Control+s")
        time.sleep(1)
        notebook = nbformat.read(folder / "notebooks" / name, 4)
        check_outputs(name, notebook)
        return all(cell.execution_count for cell in code(notebook))

    wait_for(through, TRAINING, lambda: f"Run All of {name}")


def check_outputs(name: str, notebook) -> None:
    """AssertionError names a cell that failed."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            error = f"{output.get('ename')}: {output.get('evalue')}"
            failed = f"{name}, cell {number} ({cell.id}): {error}"
            assert output.output_type != "error", failed


def slider(page: Page, description: str) -> Locator:
    """The slider with this description, in view."""
    found = page.locator(".widget-slider").filter(has=page.get_by_text(description, exact=True))
    expect(found).to_have_count(1, timeout=60_000)
    found.scroll_into_view_if_needed()
    return found


def picture(of: Locator) -> str:
    """The address, which holds the pixels, of the picture below a slider; empty without one."""
    sources = output(of).locator("img").evaluate_all("images => images.map(image => image.src)")
    return "".join(sources[-1:])


def output(of: Locator) -> Locator:
    """All that stands below the code cell that a slider belongs to."""
    return of.page.locator(".jp-Cell-outputArea").filter(has=of)


def pixels(source: str) -> np.ndarray:
    """The pixels (H, W, 3) of a picture's address."""
    data = base64.b64decode(source.partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def share_of_changed_pixels(before: str, after: str) -> float:
    """Of two pictures; 1 where they differ in size."""
    old = pixels(before)
    new = pixels(after)
    return 1.0 if old.shape != new.shape else float((old != new).any(-1).mean())


def first_picture(moved: Locator) -> str:
    """The picture below a slider, once there is one."""
    return wait_for(lambda: picture(moved), 60, lambda: f"a picture; {what_is_there(moved)}")


def another_picture(moved: Locator, before: str) -> None:
    """Wait until the picture below a slider is another one."""

    def has_changed():
        return picture(moved) not in ("", before)

    wait_for(has_changed, 60, lambda: f"another picture; {what_is_there(moved)}")


def what_is_there(moved: Locator) -> str:
    return f"there is: {output(moved).inner_text()}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_sliders_change_their_pictures(notebook, lab, page):
    run_all(page, lab, notebook.name)
    sliders = SLIDERS.get(notebook.stem[:2], [])
    expect(page.locator(".widget-slider")).to_have_count(len(sliders))
    for description in sliders:
        move(page, description)
    page.screenshot(path=lab[1] / f"{notebook.stem}.png")  # to be looked at


def move(page: Page, description: str) -> None:
    """Move a slider by two steps, with the arrow keys; its picture must follow."""
    moved = slider(page, description)
    handle = moved.locator(".noUi-handle")
    readout = moved.locator(".widget-readout")
    value = readout.inner_text()
    before = first_picture(moved)
    page.wait_for_timeout(1000)
    assert not share_of_changed_pixels(before, picture(moved)), "nobody has moved it"
    lowest = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    handle.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight" if lowest else "ArrowLeft")
    another_picture(moved, before)
    page.get_by_text(IDLE).wait_for(timeout=60_000)
    assert readout.inner_text() != value
    assert share_of_changed_pixels(before, picture(moved)) > 0.002, description
    assert "Traceback" not in output(moved).inner_text()


# Keeps the addresses of all pictures that come into an output.
WATCH = """output => {
  window.seen = [];
  const look = () => {
    for (const image of output.querySelectorAll("img"))
      if (!window.seen.includes(image.src)) window.seen.push(image.src);
  };
  const changes = {subtree: true, childList: true, attributes: true};
  new MutationObserver(look).observe(output, changes);
}"""


def test_a_drag_draws_once(lab, page):
    """Nothing is computed while a slider is held; let go, one picture follows."""
    run_all(page, lab, NOTEBOOKS[0].name)
    moved = slider(page, SLIDERS["00"][0])
    before = first_picture(moved)
    output(moved).evaluate(WATCH)
    handle = moved.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()  # the mouse only reaches what is on the screen
    page.wait_for_timeout(1000)
    box = handle.bounding_box()
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2
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
    cells = code(nbformat.read(notebook, 4))
    (cell,) = [cell for cell in cells if "ipywidgets.interact(" in cell.source]
    assert any("image/png" in output.get("data", {}) for output in cell.outputs)
