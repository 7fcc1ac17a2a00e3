"""What moves on the site, in a browser without a network: films, and sliders without a kernel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from browsing import Visit, needs_chromium
from checkout import ROOT

from pipeline.site.moving import FOLDER

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SLIDERS = ("00_loss_derivation", "03_ablate_kappa", "07_centroids")
HEAVIEST = 4_000_000  # bytes of a page beside what all pages share


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make report` builds it; the notebooks with sliders are executed anew."""
    executed = tmp_path_factory.mktemp("executed")
    environment = {**os.environ, "INFOMAX_STATES": "1", "OMP_NUM_THREADS": "1"}
    for name in SLIDERS:
        files = [f"notebooks/{name}.ipynb", str(executed / f"{name}.ipynb")]
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", "notebooks"]
        subprocess.run([*command, *files], cwd=ROOT, env=environment, check=True)
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "pipeline.site", str(folder), "--executed", str(executed)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def visit(site, browser):
    """A desk's browser that reaches nothing but the site's files."""
    opened = Visit(browser, 1440, site.as_uri())
    yield opened
    opened.context.close()


LOADED = "image => image.complete && image.naturalWidth > 0"


@needs_chromium
@pytest.mark.parametrize("name", SLIDERS)
def test_sliders_change_their_picture(site, visit, name):
    visit.open(f"{site.as_uri()}/notebooks/{name}.html")
    sliders = visit.page.locator(".states input[type=range]")
    assert sliders.count() >= 1
    for slider in sliders.all():
        box = slider.locator("xpath=ancestor::div[contains(@class, 'states')]")
        picture = box.locator("img.state")
        before = picture.get_attribute("src")
        said = slider.get_attribute("aria-valuetext")
        last = int(slider.get_attribute("max"))
        key = "ArrowLeft" if int(slider.input_value()) == last else "ArrowRight"
        slider.press(key)
        after = picture.get_attribute("src")
        assert picture.evaluate(
            f"async image => {{ await image.decode(); return ({LOADED})(image) }}"
        )
        assert slider.get_attribute("aria-valuetext") != said
        pages = site / "notebooks"
        assert (pages / after).read_bytes() != (pages / before).read_bytes()
    assert not visit.complaints


@needs_chromium
@pytest.mark.parametrize("name", SLIDERS)
def test_every_state_has_its_picture(site, visit, name):
    visit.open(f"{site.as_uri()}/notebooks/{name}.html")
    for box in visit.page.locator(".states").all():
        numbers = [int(slider.get_attribute("max")) + 1 for slider in box.locator("input").all()]
        folder = site / "notebooks" / box.get_attribute("data-folder")
        states = 1
        for number in numbers:
            states *= number
        assert len(list(folder.glob("*.webp"))) == states


# Frames that the browser itself finds in a film, and whether it calls it animated.
FRAMES = """async image => {
  const data = await (await fetch(image.currentSrc)).arrayBuffer();
  const decoder = new ImageDecoder({data, type: "image/webp"});
  await decoder.tracks.ready;
  const track = decoder.tracks.selectedTrack;
  return {frames: track.frameCount, animated: track.animated, again: track.repetitionCount};
}"""


@needs_chromium
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_films_play_from_stored_outputs(site, visit, name):
    visit.open(f"{site.as_uri()}/notebooks/{name}.html")
    for film in visit.page.locator("img.film").all():
        film.scroll_into_view_if_needed()
        seen = {film.screenshot()}
        for _ in range(40):
            visit.page.wait_for_timeout(250)
            seen.add(film.screenshot())
            if len(seen) > 2:
                break
        assert len(seen) > 2, "the film stands still"
    assert not visit.faults()


@needs_chromium
def test_who_wants_less_motion_sees_a_still(site, browser):
    name = next(path.stem for path in NOTEBOOKS if 'class=\\"film\\"' in path.read_text("utf-8"))
    visit = Visit(browser, 1440, site.as_uri())
    visit.context.set_default_timeout(60_000)
    visit.open(f"{site.as_uri()}/notebooks/{name}.html")
    visit.page.emulate_media(reduced_motion="reduce")
    film = visit.page.locator("img.film").first
    film.scroll_into_view_if_needed()
    shown = film.evaluate("image => image.currentSrc")
    visit.context.close()
    assert shown.endswith(".png")


@needs_chromium
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_page_is_light(site, visit, name):
    """The page, its pictures and its films; of sliders all states."""
    page = site / "notebooks" / f"{name}.html"
    visit.open(page.as_uri())
    images = visit.page.locator("article img").evaluate_all("all => all.map(one => one.currentSrc)")
    files = {Path(image.removeprefix("file://")) for image in images if image.startswith("file:")}
    files |= set((site / FOLDER).glob(f"{name}-*/*"))
    assert page.stat().st_size + sum(file.stat().st_size for file in files) < HEAVIEST


@needs_chromium
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_films_play_in_a_notebook_that_is_not_on_the_site(browser, tmp_path, name):
    """The stored output alone in a page, as JupyterLab puts it into one: no script, no file."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    shown = ["".join(out.get("data", {}).get("text/html", "")) for out in outputs]
    films = [html for html in shown if 'class="film"' in html]
    (tmp_path / "page.html").write_text("\n".join(films), "utf-8")
    visit = Visit(browser, 1440, (tmp_path / "page.html").as_uri())
    visit.open((tmp_path / "page.html").as_uri())
    found = [film.evaluate(FRAMES) for film in visit.page.locator("img.film").all()]
    visit.context.close()
    assert len(found) == len(films)
    assert all(film["frames"] > 1 and film["animated"] for film in found)
    assert not visit.complaints
