"""The playground in a browser without a network: its numbers are the package's, and it moves."""

import math
import subprocess
import sys

import pytest
import torch
from browsing import Visit, needs_chromium
from checkout import ROOT

from infomax_nb.analysis.sphere import kernel_density, on_circle
from infomax_nb.losses import InfoMaxLoss, global_entropy, local_entropy, mutual_information
from infomax_nb.objective.unit_rows import unit_rows
from pipeline.site.stage import Stage

pytestmark = needs_chromium

SCRIPTS = sorted((ROOT / "docs" / "_static").glob("playground*"))
HEAVIEST = 60_000  # bytes of the page's own: its text, scripts and style


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The playground and the pages that it links to, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("playground")
    stage = Stage(folder / "source")
    stage.add(ROOT / "docs" / "playground.md")
    stage.write("index.md", "# Pages\n\n```{toctree}\n:glob:\n\ndocs/*\nnotebooks/*\n```\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", str(ROOT / "docs")]
    places = [str(folder / "source"), str(folder / "html")]
    built = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "html"


class Player(Visit):
    """Someone who plays."""

    def __init__(self, browser, site, width: int = 1440, scheme: str = "light"):
        super().__init__(browser, width, site.as_uri(), scheme, height=1000)
        self.asked: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.address = f"{site.as_uri()}/docs/playground.html"
        self.open(self.address)

    def start(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def number(self, name: str) -> float:
        """One of the numbers that the page shows."""
        shown = self.page.locator(f"td[data-number={name}]").inner_text()
        return float(shown.replace("−", "-"))

    def picture(self) -> str:
        """All that is drawn of the density."""
        return self.page.locator(".pg-outline").first.get_attribute("d")

    def set(self, slider: str, value: float) -> None:
        place = math.log10(value) if slider == "kappa" else value
        self.page.locator(f"#pg-{slider}").fill(f"{place:g}")

    def ask(self, function: str, given) -> dict:
        """What a function of `window.playground` returns."""
        return self.page.evaluate(f"given => playground.{function}(given)", given)

    def steps(self) -> int:
        return int(self.page.locator(".pg-steps").inner_text().split()[1].rstrip(","))

    def train(self, steps: int) -> None:
        """Press the button that takes 25 steps at once, where less motion is wanted."""
        self.page.emulate_media(reduced_motion="reduce")
        for _ in range(steps // 25):
            self.page.get_by_role("button", name="Train 25 steps").click()


@pytest.fixture(scope="module")
def opened(browser, site):
    page = Player(browser, site)
    yield page
    page.context.close()


@pytest.fixture
def player(opened):
    """The page as it is when it has been opened."""
    opened.page.emulate_media(reduced_motion="no-preference")
    opened.start("Spread")
    opened.set("kappa", 10)
    opened.set("beta", 1)
    yield opened
    assert opened.complaints == []


# --- Its numbers ----------------------------------------------------------------------------------

STATES = [  # kappa, beta, images, views
    (0.1, 1.0, 6, 4),
    (0.3, 0.5, 2, 2),
    (math.log(2), 1.0, 5, 3),
    (1.0, 0.0, 6, 4),
    (3.0, 2.0, 3, 8),
    (10.0, 1.0, 6, 4),
    (20.0, 1.5, 4, 2),
    (29.9, 0.75, 6, 4),
    (30.1, 1.0, 7, 5),
    (100.0, 3.0, 6, 4),
    (10_000.0, 1.0, 3, 3),
]


@pytest.mark.parametrize("number", range(len(STATES)))
def test_numbers_are_the_packages(player, number):
    kappa, beta, n_images, n_views = STATES[number]
    alpha = 1.0 if number % 2 else 0.8
    draw = torch.Generator().manual_seed(number)
    n = n_images * n_views
    angles = 7 * torch.rand(n, dtype=torch.float64, generator=draw)
    angles.requires_grad_()
    ids = torch.arange(n_images).repeat_interleave(n_views)
    order = torch.randperm(n, generator=draw)  # the page takes views in any order
    given = {"angles": angles[order].tolist(), "images": ids[order].tolist()}
    ours = player.ask("state", {**given, "kappa": kappa, "alpha": alpha, "beta": beta})

    points = torch.stack([angles.cos(), angles.sin()], -1)
    views = points.reshape(n_images, n_views, 2).unbind(1)
    loss = InfoMaxLoss(kappa, alpha, beta)(list(views))
    loss.backward()
    h_global = global_entropy(points.detach(), kappa).item()
    h_local = local_entropy(points.detach(), ids, kappa).item()
    expected = mutual_information(h_global, h_local, n_views, n)
    expected |= {"h_global": h_global, "h_local": h_local, "loss": loss.item()}
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert ours["forces"] == pytest.approx((-angles.grad[order]).tolist(), abs=1e-6)
    assert ours["ceiling"] == pytest.approx(math.log((n - 1) / (n_views - 1)))


@pytest.mark.parametrize("kappa", [0.1, 1, 10, 100])
def test_density_is_the_packages(player, kappa):
    degrees = [-150.0, 10.0, 25.0, 300.0]
    places = [float(place) for place in range(0, 360, 7)]
    given = [list(map(math.radians, each)) for each in (degrees, places)]
    found = player.page.evaluate(f"given => playground.density(...given, {kappa})", given)
    expected = kernel_density(on_circle(degrees), on_circle(places), kappa)
    assert found == pytest.approx(expected.tolist(), abs=1e-9)


TRAIN = """([points, given, steps]) => {
  for (let k = 0; k < steps; k++) playground.descend(points, given);
  return points.map(({x, y}) => [x, y]);
}"""


@pytest.mark.parametrize("which", [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 2, 3, 4, 5]])
@pytest.mark.parametrize("beta", [0.5, 2])
def test_training_is_notebook_00s(player, which, beta):
    """SGD on the points' coordinates; in the second toy two images share two views."""
    lie = torch.tensor(which).reshape(2, 4)
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(max(which) + 1, 2, dtype=torch.float64, generator=generator)
    views = [[k for k, point in enumerate(which) if point == p] for p in range(len(points))]
    places = [
        {"x": x, "y": y, "vx": 0, "vy": 0, "views": own}
        for (x, y), own in zip(points.tolist(), views, strict=True)
    ]
    given = {"images": [0] * 4 + [1] * 4, "kappa": 10, "beta": beta}
    found = player.page.evaluate(TRAIN, [places, given, 30])

    points.requires_grad_()
    descent = torch.optim.SGD([points], lr=0.5, momentum=0.9)
    loss = InfoMaxLoss(10, beta=beta)
    for _ in range(30):
        descent.zero_grad()
        loss(list(points[lie.T])).backward()
        descent.step()
    assert torch.tensor(found).flatten().tolist() == pytest.approx(
        points.detach().flatten().tolist(), abs=1e-5
    )


def test_spread_is_the_start_of_notebook_00s_toy(player):
    noise = torch.randn(24, generator=torch.Generator().manual_seed(0))
    start = on_circle((15.0 * torch.arange(24) + 5 * noise).tolist())
    for name, taken in (("Spread", range(24)), ("Shared views", [0, 1, 2, 3, 6, 7])):
        player.start(name)
        dots = player.page.locator(".pg-view").all()
        assert len(dots) == (24 if name == "Spread" else 18)
        for dot, view in zip(dots, taken, strict=False):
            place = math.radians(float(dot.get_attribute("aria-valuenow")))
            assert math.cos(place) == pytest.approx(start[view, 0].item(), abs=0.01)
    player.start("Spread")
    loss = InfoMaxLoss(10)(list(unit_rows(start).reshape(6, 4, 2).unbind(1)))
    assert player.number("loss") == pytest.approx(loss.item(), abs=0.001)


# --- What moves it --------------------------------------------------------------------------------


def test_dragging_a_view_changes_numbers_and_pictures(player):
    dot = player.page.locator(".pg-view").first
    dot.scroll_into_view_if_needed()
    before = player.number("h_global"), player.number("h_local"), player.picture()
    angle = dot.get_attribute("aria-valuenow")
    circle = player.page.locator(".pg-circle").bounding_box()
    body = dot.locator(".pg-rim").bounding_box()
    player.page.mouse.move(body["x"] + body["width"] / 2, body["y"] + body["height"] / 2)
    player.page.mouse.down()
    player.page.mouse.move(circle["x"] + 5, circle["y"] + circle["height"] / 2, steps=5)
    player.page.mouse.up()
    after = player.number("h_global"), player.number("h_local"), player.picture()
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert dot.get_attribute("aria-valuenow") != angle
    assert float(dot.get_attribute("aria-valuenow")) == pytest.approx(180, abs=3)
    player.page.mouse.move(circle["x"] + circle["width"] / 2, circle["y"])
    assert player.picture() == after[2], "it was let go"


def test_a_finger_moves_the_nearest_view_and_not_the_page(browser, site):
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{site.as_uri()}/docs/playground.html")
    dots = page.locator(".pg-view")
    dots.nth(6).scroll_into_view_if_needed()
    before = angles_of(page)
    box = dots.nth(6).locator(".pg-rim").bounding_box()
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2
    scrolled = page.evaluate("scrollY")
    hand = context.new_cdp_session(page)
    for kind, places in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x - 40, "y": y + 90}]),
        ("touchEnd", []),
    ):
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    page.wait_for_timeout(200)
    after = angles_of(page)
    assert [k for k in range(24) if before[k] != after[k]] == [6]
    assert page.evaluate("scrollY") == scrolled
    context.close()


def angles_of(page) -> list[str]:
    return [dot.get_attribute("aria-valuenow") for dot in page.locator(".pg-view").all()]


def test_the_keyboard_moves_a_view(player):
    dot = player.page.locator(".pg-view").nth(3)
    dot.focus()
    said = dot.get_attribute("aria-valuetext")
    assert dot.get_attribute("aria-label") == "image A, view 4"
    start = int(dot.get_attribute("aria-valuenow"))
    before = player.number("loss")
    for key, by in (("ArrowRight", 5), ("Shift+ArrowLeft", -1), ("PageUp", 30), ("ArrowDown", -5)):
        player.page.keyboard.press(key)
        start += by
        assert int(dot.get_attribute("aria-valuenow")) == start % 360
    assert dot.get_attribute("aria-valuetext") != said
    assert player.number("loss") != before


@pytest.mark.parametrize("slider", ["kappa", "beta"])
def test_the_keyboard_moves_the_sliders(player, slider):
    player.start("Spread")
    control = player.page.locator(f"#pg-{slider}")
    before = player.number("loss"), control.get_attribute("aria-valuetext")
    control.press("ArrowRight")
    assert player.number("loss") != before[0]
    assert control.get_attribute("aria-valuetext") != before[1]


def test_sliders_change_numbers_and_pictures(player):
    first = player.picture()
    arrows = arrows_of(player)
    player.set("kappa", 100)
    second = player.picture()
    assert first != second
    loss = player.number("loss")
    player.set("beta", 2)
    assert player.picture() == second, "the weights don't change a density"
    assert player.number("loss") != loss
    assert arrows_of(player) != arrows


def arrows_of(player) -> list[str]:
    return [arrow.get_attribute("d") for arrow in player.page.locator(".pg-arrow").all()]


def test_training_lowers_the_loss_pauses_and_goes_back(player):
    before = player.number("loss")
    button = player.page.locator("[data-do=train]")
    button.click()
    assert button.inner_text() == "Pause"
    player.page.wait_for_function(
        "() => +document.querySelector('.pg-steps').textContent.match(/\\d+/)[0] >= 40"
    )
    button.click()
    steps = player.steps()
    assert player.number("loss") < before - 0.1
    player.page.wait_for_timeout(300)
    assert player.steps() == steps
    player.page.get_by_role("button", name="Back to the start").click()
    assert (player.steps(), player.number("loss")) == (0, before)


def test_training_comes_to_rest_and_wakes_when_a_view_is_moved(player):
    player.start("Clusters")
    player.page.locator("[data-do=train]").click()
    player.page.wait_for_function(
        "() => document.querySelector('.pg-steps').textContent.endsWith('at rest')"
    )
    steps = player.steps()
    player.page.wait_for_timeout(300)
    assert player.steps() == steps
    player.page.locator(".pg-view").first.focus()
    player.page.keyboard.press("PageUp")
    player.page.wait_for_timeout(300)
    assert player.steps() > steps


def test_who_wants_less_motion_sees_steps_at_once(player):
    player.train(25)
    assert player.steps() == 25
    player.page.wait_for_timeout(300)
    assert player.steps() == 25


# --- What its text says ---------------------------------------------------------------------------


def test_clusters_seen_by_four_kernels(player):
    player.start("Clusters")
    for kappa, information in ((0.1, 0.10), (1, 0.80), (10, 1.99), (100, 2.04)):
        player.set("kappa", kappa)
        assert player.number("mi_density") == pytest.approx(information, abs=0.005)
    assert not any(arrows_of(player))
    dot = player.page.locator(".pg-view").first
    for kappa, cost in ((100, 1.65), (1, 0.04)):
        player.start("Clusters")
        player.set("kappa", kappa)
        before = player.number("mi_density")
        dot.focus()
        for key in ("PageUp", "PageUp", "ArrowUp", *["Shift+ArrowUp"] * 4):
            player.page.keyboard.press(key)
        assert dot.get_attribute("aria-valuenow") == "75", "among the Bs"
        assert before - player.number("mi_density") == pytest.approx(cost, abs=0.006)


def test_shared_views_at_three_weights(player):
    player.start("Shared views")
    for beta, information in ((1, 1.40), (2, 1.19), (1, 1.40), (0.5, 1.38)):
        player.set("beta", beta)
        player.train(400)
        assert player.number("mi_density") == pytest.approx(information, abs=0.005)


def test_collapse_and_back(player):
    player.start("Collapse")
    h_global = player.number("h_global")
    h_local = player.number("h_local")
    player.train(300)
    assert player.number("h_global") - h_global == pytest.approx(2.01, abs=0.006)
    assert player.number("h_local") - h_local == pytest.approx(-0.01, abs=0.006)
    end = player.number("mi_density")
    player.start("Collapse")
    player.set("beta", 3)
    player.train(300)
    assert player.number("mi_density") == pytest.approx(end, abs=0.002)


TORN = """count => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const images = Array.from({length: 24}, (_, view) => Math.floor(view / 4));
  const train = (points, kappa) => {
    for (let k = 0; k < 300; k++) playground.descend(points, {images, kappa});
  };
  const isTorn = points => playground.state(
    {angles: playground.anglesOfViews(points), images, kappa: 10}).mi_density < 2;
  let torn = 0, mended = 0;
  for (let start = 0; start < count; start++) {
    const points = images.map((_, view) => {
      const angle = 2 * Math.PI * random();
      return {x: Math.cos(angle), y: Math.sin(angle), vx: 0, vy: 0, views: [view]};
    });
    train(points, 10);
    torn += isTorn(points);
    train(points, 1);
    train(points, 10);
    mended += !isTorn(points);
  }
  return [torn, mended];
}"""


def test_torn_images_are_mended_by_a_wide_kernel(player):
    """Of the 1,000 starts of the text the first 40."""
    torn, mended = player.page.evaluate(TORN, 40)
    assert torn >= 34
    assert mended == 40


# --- How it is made -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well_and_loads_nothing_from_elsewhere(browser, site, width, scheme):
    visit = Player(browser, site, width, scheme)
    for name in ("Collapse", "Random", "Shared views", "Clusters"):
        visit.start(name)
        visit.train(25)
        assert visit.faults() == []
    assert {url.partition(":")[0] for url in visit.asked} <= {"file", "data"}
    assert all(url.startswith((site.as_uri(), "data:")) for url in visit.asked)
    visit.context.close()


def test_everything_on_it_has_a_name(player):
    silent = """() => [...document.querySelectorAll(
        ".playground :is([role=img], [role=slider], [role=group], input, button)")]
      .filter(e => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
      .map(e => e.outerHTML.slice(0, 80))"""
    assert player.page.evaluate(silent) == []


def test_it_is_light(site):
    page = site / "docs" / "playground.html"
    files = [page, *(site / "_static" / script.name for script in SCRIPTS)]
    assert sum(file.stat().st_size for file in files) < HEAVIEST
