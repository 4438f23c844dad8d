// Sections 2 to 4: figures over all sentences.

function drawExits() {
  const host = byId("exits-figure");
  const { right, wrong } = data.exits;
  const totals = right.map((count, i) => count + wrong[i]);
  const top = Math.max(...totals) * 1.18;
  const figure = html("div");
  host.replaceChildren(key(["var(--right)", "right"], ["var(--wrong)", "wrong"]), figure);
  const { root, plot, atX, atY, y0, y1 } = axes(figure, {
    height: 282, description: "Sentences leaving after each iteration, right and wrong",
    x: iterationAxis(figure), y: { from: 0, to: top, ticks: ticks(0, top, 5), label: "sentences leaving" },
  });
  const width = (atX(2) - atX(1)) * 0.74;
  ITERATIONS.forEach((i, n) => {
    const x = atX(i) - width / 2;
    const bar = (name, from, to) => to === from ? null : svg("rect", {
      class: `fill-${name}`, "data-bar": name, x, width, y: atY(to), height: atY(from) - atY(to),
    });
    const text = `iteration ${i}: ${totals[n]} leave (${percent(totals[n] / data.data.sentences)})\n${right[n]} right, ${wrong[n]} wrong`;
    root.append(...[bar("right", 0, right[n]), bar("wrong", right[n], totals[n])].filter(Boolean));
    if (totals[n]) root.append(svg("text", { class: "halo", x: atX(i), y: atY(totals[n]) - 5, "text-anchor": "middle" }, String(totals[n])));
    const choose = () => { setFilters({ outcome: "all", search: "", when: String(i) }); byId("trajectories").scrollIntoView(); };
    if (totals[n]) root.append(svg("rect", {
      class: "hit", x: atX(i - 0.5), width: atX(1) - atX(0), y: y1, height: y0 - y1, tabindex: 0, role: "button",
      "aria-label": text, ...says(text), onclick: choose,
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } },
    }));
  });
  const mean = atX(MEAN_EXIT);
  plot.append(svg("line", { class: "limit", x1: mean, x2: mean, y1: y0, y2: y1 - 4 }));
  root.append(svg("text", { class: "halo", x: mean + 5, y: y1 + 2 }, `mean ${MEAN_EXIT.toFixed(2)}`));
}

function drawAccuracy() {
  const host = byId("accuracy-figure");
  const { all, leaving } = data.accuracy;
  const values = [...all.accuracy, ...all.confidence, ...leaving.accuracy, ...leaving.confidence].filter((v) => v !== null);
  const low = Math.max(0, Math.floor(Math.min(...values) * 20 - 0.2) / 20);
  const panels = html("div", { class: "panels" });
  host.replaceChildren(
    key(["var(--right)", "accuracy", "bar"], ["var(--soft)", "mean confidence", "bar"], [null, "area at the right: sentences leaving"]),
    panels);
  const most = Math.max(...leaving.count);
  [["all", all, "all sentences, if all left here"], ["leaving", leaving, "those leaving here"]].forEach(([name, source, title], side) => {
    const figure = html("div", { "data-panel": name });
    panels.append(figure);
    const { root, atX, atY, x0 } = axes(figure, {
      height: 264, description: `Accuracy and mean confidence of ${title}`, margin: { top: 26, right: 8, left: side ? 40 : 50 },
      x: iterationAxis(figure),
      y: { from: low, to: 1, ticks: ticks(low, 1, 5), label: side ? "" : "accuracy, confidence", format: (v) => percent(v, 0) },
    });
    root.append(svg("text", { class: "strong", x: x0, y: 12 }, title));
    const known = ITERATIONS.filter((i) => source.accuracy[i - 1] !== null);
    const point = (measure) => (i) => [atX(i), atY(source[measure][i - 1])];
    if (name === "leaving") { // few sentences leave late: no line leads from one such mark to the next
      for (const i of known) {
        const [x, y] = point("accuracy")(i);
        root.append(svg("line", { class: "axis", "stroke-width": 1.5, x1: x, x2: x, y1: y, y2: point("confidence")(i)[1] }));
      }
    }
    for (const [measure, colour, dash] of [["confidence", "var(--soft)", "5 4"], ["accuracy", "var(--right)", null]]) {
      if (name === "all") root.append(svg("path", {
        class: "line", style: `stroke:${colour}`, "stroke-width": 2, "stroke-dasharray": dash, d: path(known.map(point(measure))),
      }));
      for (const i of known) {
        const [cx, cy] = point(measure)(i);
        const count = name === "all" ? data.data.sentences : leaving.count[i - 1];
        const text = `iteration ${i}: ${measure === "accuracy" ? "accuracy" : "mean confidence"} ${percent(source[measure][i - 1], 2)}\n${count} sentences`;
        root.append(svg("circle", {
          class: "mark", style: measure === "accuracy" ? `fill:${colour}` : `fill:var(--ground);stroke:${colour};stroke-width:1.6`,
          cx, cy, r: name === "all" ? 3 : Math.max(2.5, 9 * Math.sqrt(count / most)), "data-measure": measure, ...says(text),
        }));
      }
    }
  });
}

// A trajectory the size of a word; the dot is the exit.
function spark(s) {
  const [width, height] = [84, 18];
  const [x, y] = [scale(1, LAST, 3, width - 3), scale(0, 1, height - 2, 2)];
  const points = s.trueClass.map((value, i) => [x(i + 1), y(value)]);
  const tone = s.right ? "right" : "wrong";
  return svg("svg", { width, height, "aria-hidden": "true" },
    svg("line", { class: "axis", x1: 0, x2: width, y1: y(0.5), y2: y(0.5) }),
    svg("path", { class: `line ${tone}`, "stroke-width": 1.2, opacity: 0.4, d: path(points) }),
    svg("path", { class: `line ${tone}`, "stroke-width": 1.6, d: path(points.slice(0, s.exit)) }),
    svg("circle", { class: `fill-${tone}`, cx: points[s.exit - 1][0], cy: points[s.exit - 1][1], r: 2.6 }));
}

const SAMPLES = 6;
// Longest way from the exit to the end first: where the two answers differ most, the difference is seen best.
const telling = (s) => Math.abs(s.trueClass[LAST - 1] - s.trueClass[s.exit - 1]);

function drawQuadrants() {
  [...byId("quadrant-figures").children].forEach((card, index) => {
    const entry = data.quadrants[index];
    const figure = card.querySelector(".figure");
    const tone = index < 2 ? "right" : "wrong";
    if (!entry.quartiles) { // no sentence of this kind, nothing to draw
      figure.replaceChildren();
      return;
    }
    const { root, atX, atY, x0, x1 } = axes(figure, {
      height: 170, description: `${entry.name}: probability of the true class by iteration`, x: iterationAxis(figure),
      y: { from: 0, to: 1, ticks: [0, 0.5, 1], label: "p of the true class" },
    });
    const { low, median, high } = entry.quartiles;
    const line = (values) => values.map((value, i) => [atX(i + 1), atY(value)]);
    const mean = atX(entry.mean_exit_iteration);
    root.append(
      svg("path", { class: `fill-${tone}`, opacity: 0.2, "data-part": "quartiles", d: path([...line(low), ...line(high).reverse()]) + "Z" }),
      svg("path", { class: `line ${tone}`, "stroke-width": 2.4, "data-part": "median", d: path(line(median)) }),
      svg("line", { class: "limit", x1: mean, x2: mean, y1: atY(0), y2: atY(1) }),
      svg("text", { class: "halo", x: mean + 4, y: atY(index < 2 ? 0 : 1) + (index < 2 ? -5 : 10) }, "mean exit"),
      svg("rect", {
        class: "hit", x: x0, width: x1 - x0, y: atY(1), height: atY(0) - atY(1),
        onpointermove: (event) => {
          const i = iterationAt(event, root, x0, x1);
          tip.show(event, `iteration ${i}: median ${median[i - 1].toFixed(3)}\nquartiles ${low[i - 1].toFixed(3)} to ${high[i - 1].toFixed(3)}`);
        },
        onpointerleave: () => tip.hide(),
      }));
    const members = sentences.filter((s) => s.quadrant === index).sort((a, b) => telling(b) - telling(a) || a.row - b.row);
    card.querySelector(".samples").replaceChildren(...members.slice(0, SAMPLES).map((s) =>
      html("li", {}, html("button", { type: "button", title: s.text, onclick: () => open(s.row) },
        html("span", {}, s.text), spark(s), html("span", { class: "num" }, `${s.exit}/${LAST}`)))));
  });
}
