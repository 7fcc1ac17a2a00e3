// The playground: what its buttons, sliders and views do.
(() => {
  "use strict";

  const { state, descend, anglesOfViews, drawing } = window.playground;
  const { IMAGES, VIEWS, angleOf, nats, short } = drawing;
  const DEGREE = Math.PI / 180;

  // --- States to start from ---------------------------------------------------------------------

  // 15 degrees apart and a random 5, as notebook 00's toy starts
  const NEARLY_EVEN = [
    -5.629, 9.238, 28.747, 42.831, 64.244, 78.46, 88.42, 94.424, 122.34, 134.211, 157.218, 166.33,
    180.832, 199.372, 209.283, 224.442, 244.659, 261.295, 280.025, 285.269, 303.09, 312.936,
    325.795, 333.42,
  ];
  const AROUND = [-9, -3, 3, 9];

  /** The views at each point: one, or two where images share a view. */
  const FREE = IMAGES.map((_, view) => [view]);
  const SHARED = [];
  for (let first = 0; first < IMAGES.length; first += 2 * VIEWS) {
    // The last two views of an image are the first two of the next.
    const [a, b, c, d, , , g, h] = Array.from({ length: 2 * VIEWS }, (_, k) => first + k);
    SHARED.push([a], [b], [c, c + 2], [d, d + 2], [g], [h]);
  }

  const STARTS = {
    Spread: () => NEARLY_EVEN,
    Clusters: () => IMAGES.map((image, view) => 60 * image + 15 + AROUND[view % VIEWS]),
    // Up to 3 degrees apart: views at exactly one place feel no force.
    Collapse: () => IMAGES.map((_, view) => 60 + 3 * Math.sin(7 * view * view + view)),
    Random: () => IMAGES.map(() => 360 * Math.random()),
    "Shared views": () => NEARLY_EVEN,
  };

  const onCircle = (angle) => ({ x: Math.cos(angle), y: Math.sin(angle), vx: 0, vy: 0 });

  /** Points at these angles of the views, in degrees. */
  function placed(degrees, viewsOfPoints) {
    return viewsOfPoints.map((views) => ({ ...onCircle(degrees[views[0]] * DEGREE), views }));
  }

  // --- The page's parts -------------------------------------------------------------------------

  const H_GLOBAL = "<i>H</i><sub>global</sub>";
  const H_LOCAL = "<i>H</i><sub>local</sub>";

  function slider(name, words, range, marks) {
    const spans = marks.map((mark) => `<span>${mark}</span>`).join("");
    return `
      <div class="pg-slider">
        <label for="pg-${name}">${words}</label><output for="pg-${name}"></output>
        <input id="pg-${name}" type="range" ${range} step="0.05" value="1">
        <div class="pg-ticks" aria-hidden="true">${spans}</div>
      </div>`;
  }

  function row(head, number, words) {
    const cell = `<td data-number="${number}"></td>`;
    return `<tr><th scope="row">${head}</th>${cell}<td>${words}</td></tr>`;
  }

  const starts = Object.keys(STARTS).map(
    (name) => `<button type="button" data-start="${name}">${name}</button>`,
  );
  const ceiling = '<span data-number="ceiling"></span>';
  const HTML = `
    <div class="pg-starts" role="group" aria-label="Start from">
      <span class="pg-label">Start from</span>${starts.join("")}
    </div>
    <svg class="pg-circle" viewBox="-248 -248 496 496" role="group"
      aria-label="Views of six images on a circle. Arrow keys move a view by 5 degrees, with Shift
      by 1, Page up and down by 30."></svg>
    <div class="pg-panel">
      ${slider("kappa", "κ, concentration", 'min="-1" max="2"', [0.1, 1, 10, 100])}
      ${slider("beta", "β/α, weight of the pull", 'min="0" max="3"', [0, 1, 2, 3])}
      <div class="pg-train" role="group" aria-label="Training">
        <button type="button" class="pg-main" data-do="train">Let it train</button>
        <button type="button" data-do="step">One step</button>
        <button type="button" data-do="reset">Back to the start</button>
        <span class="pg-steps"></span>
      </div>
      <table class="pg-numbers">
        <caption class="pg-hidden">Numbers of this state, in nats</caption>
        <tbody>
          ${row(H_GLOBAL, "h_global", "spread of all views")}
          ${row(H_LOCAL, "h_local", "spread of each image’s own views, written with 1/(N−1)")}
          ${row(
            "information",
            "mi_density",
            `of at most ${ceiling}: with 1/|P|, so ${H_GLOBAL} − ${H_LOCAL} + ${ceiling}
             <div class="pg-meter" aria-hidden="true"><div></div></div>`,
          )}
          ${row("loss", "loss", `−(${H_GLOBAL} − β/α · ${H_LOCAL}), at α = 1`)}
        </tbody>
      </table>
      <p class="pg-legend">Dots: views, with a letter for each image. Coloured bands: the density,
        a layer for each image. Dashed: uniform. Arrows: the force on a view.</p>
    </div>
    <figure class="pg-density"><svg role="img"></svg>
      <figcaption>The density that the kernel sees, over the angle. Ticks below: the views.
      </figcaption></figure>
    <figure class="pg-trace"><svg role="img"></svg>
      <figcaption>Both entropies, step by step. Where they meet, the information is at its
        ceiling.</figcaption></figure>
    <div class="pg-hidden" role="status"></div>`;

  // --- What a student does ----------------------------------------------------------------------

  const STEPS_A_SECOND = 30;
  const AT_ONCE = 25; // where motion is not wanted
  const LONGEST_TRACE = 600;
  const MOVES = {
    ArrowUp: 5,
    ArrowRight: 5,
    ArrowDown: -5,
    ArrowLeft: -5,
    PageUp: 30,
    PageDown: -30,
  };

  class Playground {
    constructor(root) {
      root.innerHTML = HTML;
      this.root = root;
      this.find = (selector) => root.querySelector(selector);
      this.circle = new drawing.Circle(this.find(".pg-circle"));
      this.density = new drawing.DensityChart(this.find(".pg-density svg"));
      this.traced = new drawing.TraceChart(this.find(".pg-trace svg"));
      this.still = window.matchMedia("(prefers-reduced-motion: reduce)");
      root.addEventListener("click", ({ target }) => this.clicked(target.closest("button")));
      root.addEventListener("input", () => this.touched());
      this.listenToPointers(this.circle.svg);
      this.still.addEventListener("change", () => this.pause());
      this.start("Spread");
      new ResizeObserver(() => this.draw()).observe(root);
    }

    clicked(button) {
      if (button?.dataset.start) this.start(button.dataset.start);
      if (button?.dataset.do) this[button.dataset.do]();
    }

    get settings() {
      const kappa = 10 ** Number(this.find("#pg-kappa").value);
      return { images: IMAGES, kappa, alpha: 1, beta: Number(this.find("#pg-beta").value) };
    }

    // States

    start(name) {
      this.first = [STARTS[name](), name === "Shared views" ? SHARED : FREE];
      for (const button of this.root.querySelectorAll("[data-start]")) {
        button.setAttribute("aria-pressed", button.dataset.start === name);
      }
      this.reset();
    }

    reset() {
      this.pause();
      this.points = placed(...this.first);
      const groups = this.circle.populate(this.points);
      groups.forEach((group, k) =>
        group.addEventListener("keydown", (event) => this.pressed(event, this.points[k])),
      );
      this.steps = 0;
      this.trace = [];
      this.record();
      this.draw();
    }

    /** Something was changed by hand: the last state becomes another. */
    touched() {
      this.trace.pop();
      this.record();
      this.draw();
    }

    record() {
      this.now = state({ angles: anglesOfViews(this.points), ...this.settings });
      this.trace.push(this.now);
      if (this.trace.length > LONGEST_TRACE) this.trace.shift();
      this.rests = this.hasSettled();
    }

    /** Whether the loss has not changed for a while. */
    hasSettled() {
      const before = this.trace.at(-80);
      const least = 1e-6 * Math.min(1, this.settings.kappa);
      return before !== undefined && Math.abs(before.loss - this.now.loss) < least;
    }

    // Moving a view

    /** Views follow a mouse or fingers; near several views, the nearest one does. */
    listenToPointers(svg) {
      const drags = new Map();
      svg.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || !event.target.closest(".pg-view")) return;
        const { nearest, angle } = this.circle.pointedAt(event);
        const point = this.points[nearest];
        point.held = true;
        drags.set(event.pointerId, { point, offset: angleOf(point) - angle });
        svg.setPointerCapture(event.pointerId);
        this.circle.dots[nearest].group.focus({ preventScroll: true });
      });
      svg.addEventListener("pointermove", (event) => {
        const drag = drags.get(event.pointerId);
        if (drag) this.move(drag.point, this.circle.pointedAt(event).angle + drag.offset);
      });
      svg.addEventListener("lostpointercapture", ({ pointerId }) => {
        const drag = drags.get(pointerId);
        if (drag) drag.point.held = false;
        drags.delete(pointerId);
      });
      // The nearest view has the focus, not the one that was hit.
      svg.addEventListener("mousedown", (event) => event.preventDefault());
      // A finger on a view moves the view, not the page.
      const keepStill = (event) => event.target.closest(".pg-view") && event.preventDefault();
      svg.addEventListener("touchstart", keepStill, { passive: false });
    }

    pressed(event, point) {
      const degrees = MOVES[event.key];
      if (degrees === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const turn = event.shiftKey ? Math.sign(degrees) : degrees;
      this.move(point, angleOf(point) + turn * DEGREE);
    }

    move(point, angle) {
      Object.assign(point, onCircle(angle));
      this.touched();
    }

    // Training

    train() {
      if (this.still.matches) this.advance(AT_ONCE);
      else if (this.running) this.pause();
      else this.run();
    }

    run() {
      this.running = true;
      this.say("Training.");
      this.label();
      let before = performance.now();
      const frame = (time) => {
        if (!this.running) return;
        const due = Math.min(4, Math.floor(((time - before) * STEPS_A_SECOND) / 1000));
        if (due > 0) {
          before = time;
          if (!this.rests) this.advance(due);
        }
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    }

    pause() {
      if (this.running) this.say(`Paused at step ${this.steps}.`);
      this.running = false;
      this.label();
    }

    step() {
      this.pause();
      this.advance(1);
    }

    advance(count) {
      for (let k = 0; k < count; k++) {
        descend(this.points, this.settings);
        this.steps += 1;
        this.record();
      }
      if (this.rests) this.say(`At rest after ${this.steps} steps.`);
      this.draw();
    }

    // What is shown

    label() {
      const words = this.running ? "Pause" : "Let it train";
      const button = this.find("[data-do=train]");
      button.textContent = this.still.matches ? `Train ${AT_ONCE} steps` : words;
    }

    say(words) {
      this.find("[role=status]").textContent = words;
    }

    draw() {
      const { kappa, beta } = this.settings;
      const angles = anglesOfViews(this.points);
      const curves = drawing.layers(angles, kappa);
      this.circle.draw(this.points, curves, this.now, kappa);
      this.density.draw(curves, angles);
      this.traced.draw(this.trace, this.steps);
      for (const cell of this.root.querySelectorAll("[data-number]")) {
        cell.textContent = nats(this.now[cell.dataset.number]);
      }
      const share = Math.max(0, this.now.mi_density / this.now.ceiling);
      this.find(".pg-meter div").style.width = `${100 * share}%`;
      this.find(".pg-steps").textContent = `step ${this.steps}${this.rests ? ", at rest" : ""}`;
      this.showValue("kappa", `${short(kappa)} (τ = ${short(1 / kappa)})`);
      this.showValue("beta", short(beta));
    }

    showValue(name, words) {
      this.find(`#pg-${name}`).setAttribute("aria-valuetext", words);
      this.find(`output[for=pg-${name}]`).textContent = words;
    }
  }

  const root = document.querySelector(".playground");
  if (root) new Playground(root);
})();
