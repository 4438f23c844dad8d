// Section 6: [CLS] states in the plane of two principal components.

const cloud = data.projection;
const projection = { iteration: cloud.first, together: false, timer: null };

// Axes of one iteration, or of all together; the few points outside stand at the frame.
const boundsOf = (iteration) => (iteration === null ? cloud.limits.all : cloud.limits.each[iteration - 1])
  .map(([from, to]) => ({ from, to }));
const within = ({ from, to }, at) => (value) => at(Math.min(to, Math.max(from, value)));

const cross = (x, y, r) => `M${(x - r).toFixed(1)} ${(y - r).toFixed(1)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;

// One path per class, right or wrong, gone or here: thousands of marks stay cheap.
function marks(iteration, atX, atY, radius) {
  const groups = new Map();
  cloud.points[iteration - 1].forEach(([px, py], n) => {
    const wrong = cloud.wrong[iteration - 1][n];
    const gone = cloud.exits[n] < iteration ? 1 : 0;
    const id = `${cloud.labels[n]} ${wrong} ${gone}`;
    const [x, y] = [atX(px), atY(py)];
    groups.set(id, (groups.get(id) ?? "") + (wrong ? cross(x, y, radius * 0.8) : `M${x.toFixed(1)} ${y.toFixed(1)}h0`));
  });
  return [...groups].sort(([a], [b]) => Number(a.split(" ")[1]) - Number(b.split(" ")[1])).map(([id, d]) => {
    const [label, wrong, gone] = id.split(" ").map(Number);
    return svg("path", {
      class: "line", "data-marks": id, d, style: `stroke:${classColour(label)}`, opacity: gone ? 0.28 : 0.85,
      "stroke-width": wrong ? Math.max(1, radius * 0.45) : 2 * radius,
    });
  });
}

function drawProjection() {
  const host = byId("projection-figure");
  const i = projection.iteration;
  byId("iteration").value = i;
  byId("iteration-value").textContent = `${i} of ${LAST}, ${percent(data.accuracy.all.accuracy[i - 1])} right`;
  const figure = html("div");
  host.replaceChildren(
    key(...CLASSES.map((name, c) => [classColour(c), name, "round"]), [null, "✗ wrong at this iteration"], [null, "faint: has left already"]),
    figure);
  const bounds = boundsOf(projection.together ? null : i);
  const axis = (bound, n) => ({
    ...bound, ticks: ticks(bound.from, bound.to, 5), label: `component ${n + 1} (${percent(cloud.explained[n])} of the variance)`,
  });
  const { root, x0, x1, y0, y1, ...at } = axes(figure, {
    height: Math.max(300, Math.min(460, host.clientWidth * 0.8)), description: `Hidden states after iteration ${i}`,
    x: axis(bounds[0], 0), y: axis(bounds[1], 1),
  });
  const [atX, atY] = [within(bounds[0], at.atX), within(bounds[1], at.atY)];
  root.append(...marks(i, atX, atY, 3));
  const chosen = svg("circle", { class: "line", style: "stroke:var(--ink)", "stroke-width": 1.5, r: 0 });
  root.append(chosen);
  const nearest = (event) => {
    const box = root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = { distance: 12, n: null };
    cloud.points[i - 1].forEach(([px, py], n) => {
      const distance = Math.hypot(atX(px) - x, atY(py) - y);
      if (distance < best.distance) best = { distance, n };
    });
    return best.n;
  };
  root.append(svg("rect", {
    class: "hit", x: x0, y: y1, width: x1 - x0, height: y0 - y1,
    onpointermove: (event) => {
      const n = nearest(event);
      if (n === null) { chosen.setAttribute("r", 0); tip.hide(); return; }
      const [px, py] = cloud.points[i - 1][n];
      chosen.setAttribute("cx", atX(px)); chosen.setAttribute("cy", atY(py)); chosen.setAttribute("r", 7);
      const s = byRow.get(cloud.rows[n]);
      tip.show(event, `${s ? shorten(s.text, 110) : `sentence ${cloud.rows[n]}`}\n${CLASSES[cloud.labels[n]]}, ${
        cloud.wrong[i - 1][n] ? "wrong" : "right"} at iteration ${i}; leaves after ${cloud.exits[n]}`);
    },
    onpointerleave: () => { chosen.setAttribute("r", 0); tip.hide(); },
    onclick: (event) => { const n = nearest(event); if (n !== null && byRow.has(cloud.rows[n])) { tip.hide(); open(cloud.rows[n]); } },
  }));
  for (const button of byId("projection-multiples").children) {
    button.setAttribute("aria-pressed", String(Number(button.value) === i));
  }
}

function drawMultiples() {
  const [width, height] = [120, 92];
  const [x, y] = boundsOf(null);
  const atX = within(x, scale(x.from, x.to, 2, width - 2));
  const atY = within(y, scale(y.from, y.to, height - 2, 2));
  byId("projection-multiples").replaceChildren(...ITERATIONS.map((i) => html("button", {
    type: "button", value: i, "aria-label": `show iteration ${i}`, onclick: () => { stop(); show(i); },
  }, `${i} · ${percent(data.accuracy.all.accuracy[i - 1])}`,
  svg("svg", { viewBox: `0 0 ${width} ${height}`, style: "display:block;width:100%" }, ...marks(i, atX, atY, 1.1)))));
}

function show(iteration) {
  projection.iteration = iteration;
  drawProjection();
}

function together(wanted) {
  projection.together = wanted;
  byId("together").checked = wanted;
  drawProjection();
}

function stop() {
  clearInterval(projection.timer);
  projection.timer = null;
  byId("play").textContent = "play";
}

function play() {
  if (projection.timer !== null) { stop(); return; }
  together(true); // what moves is seen on axes that stay
  if (projection.iteration === LAST) show(1);
  byId("play").textContent = "pause";
  projection.timer = setInterval(() => {
    if (projection.iteration === LAST) stop();
    else show(projection.iteration + 1);
  }, STILL.matches ? 1600 : 800);
}
