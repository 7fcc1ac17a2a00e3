// The playground's pictures: the circle with its views, and two charts.
(() => {
  "use strict";

  const { density } = window.playground;
  const TURN = 2 * Math.PI;

  // Six images, four views of each.
  const VIEWS = 4;
  const LETTERS = [..."ABCDEF"];
  const IMAGES = LETTERS.flatMap((_, image) => Array(VIEWS).fill(image));
  const N = IMAGES.length;

  const UNIFORM = 1 / TURN;
  const GRID = Array.from({ length: 361 }, (_, k) => ((k - 180) * TURN) / 360);

  // --- Words and elements -----------------------------------------------------------------------

  const signed = (number) => String(number).replace("-", "−");
  const short = (value) => String(Number(value.toPrecision(3)));
  const inDegrees = (angle) => (((Math.round((angle * 360) / TURN) % 360) + 360) % 360);

  function nats(value) {
    return Math.abs(value) < 0.0005 ? "0.000" : signed(value.toFixed(3));
  }

  function change(node, attributes) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  }

  function element(tag, attributes, parent) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    parent.append(made);
    return change(made, attributes);
  }

  // --- The circle -------------------------------------------------------------------------------

  const RADIUS = 150;
  const BAND = 88; // height of the densest place
  const DOT = 12;
  const LONGEST_ARROW = 62;

  function at(radius, angle) {
    const x = radius * Math.cos(angle);
    const y = -radius * Math.sin(angle);
    return `${x.toFixed(2)},${y.toFixed(2)}`;
  }

  const angleOf = ({ x, y }) => Math.atan2(y, x);

  /** Densities of the images over GRID, each on top of those before it; the first is zero. */
  function layers(angles, kappa) {
    const curves = [GRID.map(() => 0)];
    LETTERS.forEach((_, image) => {
      const own = angles.filter((_, view) => IMAGES[view] === image);
      const below = curves[image];
      curves.push(density(own, GRID, kappa, N).map((value, k) => value + below[k]));
    });
    return curves;
  }

  /**
   * How many dots lie before each in a pile, and how many behind it. Piles grow inwards. Dots that
   * overlap in part count in part, so that nothing jumps.
   */
  function piles(points) {
    const angles = points.map(angleOf);
    const width = (2 * DOT) / RADIUS;
    const apart = (a, b) => Math.abs(2 * Math.asin(Math.sin((a - b) / 2)));
    const overlap = (a, b) => Math.max(0, 1 - apart(a, b) / width);
    return angles.map((angle, i) => {
      const overlaps = angles.map((other) => overlap(angle, other));
      const sum = (some) => some.reduce((total, each) => total + each, 0);
      return { before: sum(overlaps.slice(0, i)), behind: sum(overlaps.slice(i + 1)) };
    });
  }

  /** An arrow to the right (left, if negative) from x = start; its length grows with the root. */
  function arrowPath(strength, start) {
    const length = Math.min(1, Math.sqrt(Math.abs(strength) / 2)) * LONGEST_ARROW;
    if (length < 3) return "";
    const head = Math.min(10, length);
    const wide = head / 2 + 0.5;
    const places = [start, start + length - head, start + length];
    const [from, neck, tip] = places.map((x) => Math.sign(strength) * x);
    return `M${from},-1.5H${neck}V${-wide}L${tip},0L${neck},${wide}V1.5H${from}Z`;
  }

  /** A dot of one image, or half of one image and half of another, with their letters. */
  function drawBody(parent, images) {
    const [first, second] = images;
    const body = element("g", {}, parent);
    element("circle", { class: "pg-target", r: 1.5 * DOT }, body); // for fingers
    element("circle", { class: `pg-image-${first}`, r: DOT }, body);
    if (second !== undefined) {
      const half = `M0,${-DOT}A${DOT},${DOT} 0 0 1 0,${DOT}Z`;
      element("path", { class: `pg-image-${second}`, d: half }, body);
    }
    element("circle", { class: "pg-rim", r: DOT }, body);
    images.forEach((image, k) => {
      const x = images.length > 1 ? (k - 0.5) * DOT * 0.95 : 0;
      const size = images.length > 1 ? "pg-half" : "";
      const letter = element("text", { class: `pg-letter pg-on-${image} ${size}`, x }, body);
      letter.textContent = LETTERS[image];
    });
    return body;
  }

  class Circle {
    constructor(svg) {
      this.svg = svg;
      const bands = element("g", { class: "pg-bands" }, svg);
      this.bands = LETTERS.map((_, image) =>
        element("path", { class: `pg-image-${image}`, "fill-rule": "evenodd" }, bands),
      );
      this.uniform = element("circle", { class: "pg-uniform" }, svg);
      this.outline = element("path", { class: "pg-outline" }, svg);
      element("circle", { class: "pg-line", r: RADIUS }, svg);
      for (const degrees of [0, 90, 180, -90]) {
        const [x, y] = at(96, (degrees * TURN) / 360).split(",");
        element("text", { x, y, "aria-hidden": true }, svg).textContent = `${signed(degrees)}°`;
      }
      this.views = element("g", {}, svg);
      this.arrows = element("g", { "aria-hidden": true }, svg);
    }

    /** Make a dot for each point; returns their groups, which take a pointer and the keyboard. */
    populate(points) {
      this.views.replaceChildren();
      this.arrows.replaceChildren();
      this.dots = points.map(({ views }) => {
        const group = element("g", { class: "pg-view", role: "slider", tabindex: 0 }, this.views);
        const names = views.map(
          (view) => `image ${LETTERS[IMAGES[view]]}, view ${(view % VIEWS) + 1}`,
        );
        const range = { "aria-valuemin": 0, "aria-valuemax": 359 };
        change(group, { "aria-label": names.join(" and "), ...range });
        const arrow = element("path", { class: "pg-arrow" }, this.arrows);
        const body = drawBody(group, views.map((view) => IMAGES[view]));
        return { group, arrow, body };
      });
      return this.dots.map(({ group }) => group);
    }

    draw(points, curves, now, kappa) {
      const top = curves.at(-1);
      const densest = Math.max(...top, 3 * UNIFORM);
      const height = (value) => RADIUS + (BAND * value) / densest;
      const ring = (curve) => `M${curve.map((value, k) => at(height(value), GRID[k])).join("L")}Z`;
      this.bands.forEach((band, image) =>
        band.setAttribute("d", ring(curves[image]) + ring(curves[image + 1])),
      );
      this.outline.setAttribute("d", ring(top));
      this.uniform.setAttribute("r", height(UNIFORM));

      const piled = piles(points);
      const most = Math.max(...piled.map(({ before }) => before), 1);
      const step = Math.min(1.3 * DOT, (RADIUS - 2 * DOT) / most);
      points.forEach((point, k) => {
        const { before, behind } = piled[k];
        const radius = RADIUS - step * before;
        const force = point.views.reduce((sum, view) => sum + now.forces[view], 0);
        this.drawDot(this.dots[k], angleOf(point), radius);
        this.drawArrow(this.dots[k], angleOf(point), radius, {
          strength: (N * force) / kappa,
          alone: Math.max(0, 1 - before - behind),
        });
        this.describe(this.dots[k], angleOf(point), force, now.loss);
      });
    }

    drawDot(dot, angle, radius) {
      dot.place = at(radius, angle);
      dot.body.setAttribute("transform", `translate(${dot.place})`);
    }

    /** The number of the dot nearest to a pointer, and the pointer's angle. */
    pointedAt({ clientX, clientY }) {
      const box = this.svg.getBoundingClientRect();
      const unit = box.width / this.svg.viewBox.baseVal.width;
      const x = (clientX - box.left - box.width / 2) / unit;
      const y = (clientY - box.top - box.height / 2) / unit;
      const distances = this.dots.map(({ place }) => {
        const [left, top] = place.split(",").map(Number);
        return Math.hypot(left - x, top - y);
      });
      const nearest = distances.indexOf(Math.min(...distances));
      return { nearest, angle: Math.atan2(-y, x) };
    }

    /** On the inner side of a dot that is alone (1), from the rim of one in a pile (0). */
    drawArrow({ arrow }, angle, radius, { strength, alone }) {
      const place = at(radius - alone * (DOT + 8), angle);
      const turned = -90 - (angle * 360) / TURN;
      change(arrow, {
        d: arrowPath(strength, (DOT - 1) * (1 - alone)),
        transform: `translate(${place}) rotate(${turned})`,
      });
    }

    describe({ group }, angle, force, loss) {
      const degrees = inDegrees(angle);
      const way = force > 0 ? "anticlockwise" : "clockwise";
      const pull = `force ${short(Math.abs(force))} ${way}`;
      const text = `${degrees} degrees; ${pull}; loss ${nats(loss)}`;
      change(group, { "aria-valuenow": degrees, "aria-valuetext": text });
    }
  }

  // --- Two charts, drawn in the pixels that they have -------------------------------------------

  /** A round number between ticks, so that there are about `count`. */
  function tickStep(range, count) {
    const rough = range / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  }

  /** Ticks from low to high. */
  function ticks(low, high, count) {
    const step = tickStep(high - low, count);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9; k++) {
      found.push(Number((k * step).toPrecision(6)));
    }
    return found;
  }

  class Chart {
    constructor(svg, { x, y }) {
      this.svg = svg;
      this.names = { x, y };
    }

    /** Empty it and draw axes; returns functions from values to pixels, and the frame. */
    axes([left, right], [low, high], xticks) {
      const width = Math.max(260, this.svg.clientWidth);
      const height = this.svg.clientHeight || 190;
      const frame = { left: 46, right: width - 14, top: 30, bottom: height - 42 };
      const across = (frame.right - frame.left) / (right - left);
      const upwards = (frame.bottom - frame.top) / (high - low);
      const x = (value) => frame.left + (value - left) * across;
      const y = (value) => frame.bottom - (value - low) * upwards;
      this.svg.replaceChildren();
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      for (const value of ticks(low, high, 4)) {
        this.line([frame.left, frame.right], [y(value), y(value)], "pg-grid");
        this.text(frame.left - 6, y(value), signed(value), "pg-end");
      }
      for (const value of xticks) this.text(x(value), frame.bottom + 20, signed(value));
      this.text((frame.left + frame.right) / 2, height - 8, this.names.x);
      this.text(4, 10, this.names.y, "pg-start");
      return { x, y, frame };
    }

    line([x1, x2], [y1, y2], name) {
      element("line", { x1, y1, x2, y2, class: name }, this.svg);
    }

    text(x, y, words, name = "") {
      const made = element("text", { x, y, class: name }, this.svg);
      made.textContent = words;
      return made;
    }

    path(xs, ys, name, end = "") {
      const places = xs.map((x, k) => `${x.toFixed(1)},${ys[k].toFixed(1)}`);
      element("path", { d: `M${places.join("L")}${end}`, class: name }, this.svg);
    }
  }

  class DensityChart extends Chart {
    constructor(svg) {
      super(svg, { x: "angle (degrees)", y: "density (per radian)" });
    }

    draw(curves, angles) {
      const top = curves.at(-1);
      const densest = Math.max(...top);
      const high = 1.08 * Math.max(densest, 3 * UNIFORM);
      const { x, y, frame } = this.axes([-180, 180], [0, high], [-180, -90, 0, 90, 180]);
      const across = GRID.map((angle) => x((angle * 360) / TURN));
      const around = [...across, ...[...across].reverse()];
      LETTERS.forEach((_, image) => {
        const edges = [...curves[image + 1], ...[...curves[image]].reverse()];
        this.path(around, edges.map(y), `pg-layer pg-image-${image}`, "Z");
      });
      this.path(across, top.map(y), "pg-outline");
      this.line([frame.left, frame.right], [y(UNIFORM), y(UNIFORM)], "pg-uniform");
      angles.forEach((angle, view) => {
        const place = x((angle * 360) / TURN);
        const name = `pg-tick pg-image-${IMAGES[view]}`;
        this.line([place, place], [frame.bottom + 2, frame.bottom + 10], name);
      });
      const peak = inDegrees(GRID[top.indexOf(densest)]);
      const words = `at most ${short(densest)} per radian, at ${peak} degrees; uniform is 0.159`;
      this.svg.setAttribute("aria-label", `Density over the angle: ${words}.`);
    }
  }

  class TraceChart extends Chart {
    constructor(svg) {
      super(svg, { x: "step", y: "entropy (nats)" });
    }

    /** The entropies of the states in `trace`, of which the last was reached at this step. */
    draw(trace, step) {
      const values = trace.flatMap(({ h_global, h_local }) => [h_global, h_local]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const margin = Math.max(0.15 * (high - low), 0.1);
      const first = step - trace.length + 1;
      const last = Math.max(step, first + 50);
      const axes = this.axes([first, last], [low - margin, high + margin], ticks(first, last, 4));
      const across = trace.map((_, k) => axes.x(first + k));
      for (const key of ["h_local", "h_global"]) {
        const heights = trace.map((entry) => axes.y(entry[key]));
        this.path(across, heights, `pg-curve pg-${key}`);
        const end = { cx: across.at(-1), cy: heights.at(-1), r: 4, class: `pg-${key}` };
        element("circle", end, this.svg);
      }
      this.nameCurves(trace.at(-1), across.at(-1), axes);
      const gap = nats(trace.at(-1).h_local - trace.at(-1).h_global);
      const words = `after ${step} steps H local is ${gap} nats above H global`;
      this.svg.setAttribute("aria-label", `Both entropies, step by step: ${words}.`);
    }

    nameCurves(now, x, { y, frame }) {
      const isAtEnd = x > frame.right - 70;
      const [shift, side] = isAtEnd ? [-2, "pg-end"] : [8, "pg-start"];
      const isNear = Math.abs(y(now.h_local) - y(now.h_global)) < 34;
      const below = isNear ? 15 : -13; // where the two names would cover each other
      for (const [key, rise] of [["h_local", -13], ["h_global", below]]) {
        const name = this.text(x + shift, y(now[key]) + rise, "H", `pg-name ${side}`);
        element("tspan", { dy: 4 }, name).textContent = key.slice(2);
      }
    }
  }

  const drawing = { Circle, DensityChart, TraceChart, layers, angleOf, nats, short };
  window.playground.drawing = { ...drawing, IMAGES, VIEWS };
})();
