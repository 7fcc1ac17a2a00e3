// The paper's loss for views on a circle: infomax_nb.losses in two dimensions.
//
// `window.playground` gets the functions `state`, `density`, `descend` and `anglesOfViews`; tests
// hold them against the package. Angles are in radians, anticlockwise; entropies in nats; n counts
// views.
(() => {
  "use strict";

  const TURN = 2 * Math.PI;

  /** log I_0(kappa) - kappa, with I_0 the modified Bessel function. */
  function logScaledBessel(kappa) {
    let term = 1;
    let sum = 1;
    if (kappa > 30) {
      for (let k = 1; k <= 20; k++) {
        term *= (2 * k - 1) ** 2 / (8 * k * kappa); // DLMF 10.40.1
        sum += term;
      }
      return Math.log(sum) - Math.log(TURN * kappa) / 2;
    }
    for (let k = 1; term > 1e-17 * sum; k++) {
      term *= (kappa / (2 * k)) ** 2; // DLMF 10.25.2, all terms positive
      sum += term;
    }
    return Math.log(sum) - kappa;
  }

  /** log of Eq. 1's kernel at its centre: log C_2(kappa) + kappa. */
  const logPeak = (kappa) => -Math.log(TURN) - logScaledBessel(kappa);

  /** log of the kernel at this angle from its centre, over its value there. */
  const logFall = (angle, kappa) => -2 * kappa * Math.sin(angle / 2) ** 2;

  /**
   * Eq. 2 or 3, in nats, and of each view i the shares that the others have in the density there.
   *
   * `counts(i, j)` says whether view j is in i's sum.
   */
  function entropy(angles, kappa, counts) {
    const n = angles.length;
    let sumOfLogs = 0;
    const shares = angles.map((angle, i) => {
      const logs = angles.map((other, j) =>
        counts(i, j) ? logFall(angle - other, kappa) : -Infinity,
      );
      const largest = Math.max(...logs);
      const kernels = logs.map((log) => Math.exp(log - largest));
      const sum = kernels.reduce((total, kernel) => total + kernel);
      sumOfLogs += largest + Math.log(sum);
      return kernels.map((kernel) => kernel / sum);
    });
    return { value: Math.log(n - 1) - logPeak(kappa) - sumOfLogs / n, shares };
  }

  /**
   * All numbers of a state, in nats, and `forces`: minus the loss's derivative by each angle.
   *
   * angles: one for each view. images: the number of the image that each view shows; there are at
   * least two views of each.
   */
  function state({ angles, images, kappa, alpha = 1, beta = 1 }) {
    const n = angles.length;
    const isOther = (i, j) => i !== j;
    const isPositive = (i, j) => i !== j && images[i] === images[j];
    const all = entropy(angles, kappa, isOther);
    const own = entropy(angles, kappa, isPositive);

    const push = (i, j) => alpha * all.shares[i][j] - beta * own.shares[i][j];
    const forces = angles.map((angle, i) => {
      const pushes = angles.map((other, j) => Math.sin(angle - other) * (push(i, j) + push(j, i)));
      return (kappa / n) * pushes.reduce((total, each) => total + each);
    });

    const constants = images.map((_, i) => {
      const positives = images.filter((_, j) => isPositive(i, j)).length;
      return Math.log((n - 1) / positives);
    });
    const ceiling = constants.reduce((total, each) => total + each) / n;
    const written = all.value - own.value;
    return {
      h_global: all.value,
      h_local: own.value,
      mi_written: written,
      mi_density: written + ceiling,
      ceiling,
      loss: -(alpha * all.value - beta * own.value),
      forces,
    };
  }

  /** The density per radian at each place of `at` to which views at `angles`, of n, add up. */
  function density(angles, at, kappa, n = angles.length) {
    const peak = Math.exp(logPeak(kappa)) / n;
    return at.map((place) =>
      angles.reduce((sum, angle) => sum + peak * Math.exp(logFall(place - angle, kappa)), 0),
    );
  }

  const RATE = 5; // over kappa: at kappa = 10 the 0.5 of notebook 00
  const MOMENTUM = 0.9;

  /**
   * One step of torch.optim.SGD on the points' coordinates, which the loss divides by their length.
   *
   * points: objects with x, y, their speeds vx and vy, and `views`, the numbers of the views that
   * lie there. They are changed in place; one that is `held` stays where it is.
   */
  function descend(points, { images, kappa, alpha = 1, beta = 1 }) {
    const { forces } = state({ angles: anglesOfViews(points), images, kappa, alpha, beta });
    for (const point of points.filter(({ held }) => !held)) {
      const force = point.views.reduce((sum, view) => sum + forces[view], 0) / kappa;
      const squared = point.x ** 2 + point.y ** 2;
      point.vx = MOMENTUM * point.vx + (force * point.y) / squared;
      point.vy = MOMENTUM * point.vy - (force * point.x) / squared;
      point.x -= RATE * point.vx;
      point.y -= RATE * point.vy;
    }
  }

  /** The angle of each view, in the views' order. */
  function anglesOfViews(points) {
    const angles = [];
    for (const { x, y, views } of points) {
      for (const view of views) angles[view] = Math.atan2(y, x);
    }
    return angles;
  }

  window.playground = { state, density, descend, anglesOfViews };
})();
