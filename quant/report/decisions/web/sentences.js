// Section 1: the list of sentences, its filters, and the trajectory of the chosen one.

const policy = data.policy;
const MEAN_EXIT = data.with_exit.mean_exit_iteration;
const HAS_MARGIN = policy.mode.startsWith("bias");

const sentences = data.sentences.map((s) => ({
  ...s,
  right: s.answer === s.label,
  lastRight: s.last_answer === s.label,
  trueClass: s.probabilities.map((p) => p[s.label]),
  searched: s.text.toLowerCase(),
}));
const byRow = new Map(sentences.map((s) => [s.row, s]));

const state = { selected: null, search: "", outcome: "all", when: "all", measure: "true" };

const MEASURES = {
  true: { label: "p of the true class", of: (p, s) => p[s.label], from: 0 },
  winner: { label: "p of the winning class", of: (p) => Math.max(...p), from: CLASSES.length === 2 ? 0.5 : 0 },
  lead: { label: "lead over the next class", of: (p) => { const [a, b] = [...p].sort((u, v) => v - u); return a - b; }, from: 0 },
};
const UNCERTAINTY = policy.mode === "entropy_raw" ? "entropy, nat" : "entropy U";

function visible() {
  const { search, outcome, when } = state;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return sentences.filter((s) => {
    if (!words.every((word) => s.searched.includes(word))) return false;
    if (outcome === "right" || outcome === "wrong") { if (s.right !== (outcome === "right")) return false; }
    else if (outcome !== "all" && s.quadrant !== Number(outcome)) return false;
    if (when === "early") return s.exit <= MEAN_EXIT;
    if (when === "late") return s.exit > MEAN_EXIT;
    return when === "all" || s.exit === Number(when);
  });
}

function reason(s) {
  const steps = policy.length === 1 ? "1 iteration" : `${policy.length} iterations`;
  return {
    entropy: () => `${UNCERTAINTY} ${s.entropy[s.exit - 1].toFixed(3)} is below delta ${policy.delta}`,
    window: () => ({
      bias_1: `the same class, beyond the margin, in ${steps} on end`,
      bias_2: `beyond the margin ${steps} ago, and never moving back since`,
      bias_3: `beyond the margin in ${steps} on end, within range ${policy.range}`,
    })[policy.mode],
    patience: () => `the same answer ${policy.length} times on end`,
    last: () => "no test held before the last iteration",
  }[s.reason]();
}

const verdictOf = (right) => html("span", { class: `mark ${right ? "right" : "wrong"}` }, right ? "right" : "wrong");

function drawVerdict() {
  const s = byRow.get(state.selected);
  const ends = s.exit === LAST ? [] : [
    `. The last iteration says ${CLASSES[s.last_answer]}, `, verdictOf(s.lastRight),
  ];
  byId("verdict").replaceChildren(
    html("blockquote", {}, s.text),
    html("p", {}, html("strong", {}, `Left after iteration ${s.exit} of ${LAST}`), `: ${reason(s)}. Its answer: `,
      html("strong", {}, CLASSES[s.answer]), ", ", verdictOf(s.right),
      s.right ? "" : ` (true class ${CLASSES[s.label]})`, ...ends, "."),
  );
}

function drawList(found) {
  const list = byId("list");
  const items = found.map((s) => html("li", {
    role: "option", id: `s${s.row}`, "aria-selected": String(s.row === state.selected), title: s.text,
    onclick: () => select(s.row),
  },
  html("span", { class: `mark ${s.right ? "right" : "wrong"}`, "aria-label": s.right ? "right" : "wrong" }, s.right ? "✓" : "✗"),
  html("span", {}, s.text),
  html("span", { class: "num" }, `${s.exit}/${LAST}`)));
  list.replaceChildren(...(items.length ? items : [html("li", { class: "empty" }, "no sentence fits the filters")]));
  byId("matches").textContent = `${found.length} of ${sentences.length} sentences`;
  markChosen(false);
}

function markChosen(scroll) {
  const list = byId("list");
  for (const item of list.children) item.setAttribute("aria-selected", String(item.id === `s${state.selected}`));
  const chosen = byId(`s${state.selected}`);
  if (!chosen) { list.removeAttribute("aria-activedescendant"); return; }
  list.setAttribute("aria-activedescendant", chosen.id);
  if (scroll) {
    const [top, bottom] = [chosen.offsetTop - list.offsetTop, chosen.offsetTop - list.offsetTop + chosen.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }
}

/* One value per iteration of the chosen sentence before the faint lines of the others. */
function drawLines(host, { height, label, from, to, valuesOf, format, before }) {
  const chart = axes(host, {
    height, description: `${label} by iteration`, x: iterationAxis(host),
    y: { from, to, ticks: ticks(from, to, height > 150 ? 5 : 2), label, format },
  });
  const { root, atX, atY } = chart;
  const chosen = byRow.get(state.selected);
  const leave = chosen.exit;
  if (chosen.reason === "window" || chosen.reason === "patience") {
    const start = atX(leave - policy.length + 0.5);
    chart.plot.prepend(svg("rect", {
      class: "column", "data-part": "window", x: start, width: atX(leave + 0.5) - start, y: chart.y1, height: chart.y0 - chart.y1,
    }));
  }
  const labels = svg("g", { "pointer-events": "none" });
  before(chart, (x, y, text) => labels.append(svg("text", { class: "halo", x, y, "text-anchor": "end" }, text)));
  const line = (s) => valuesOf(s).map((value, i) => [atX(i + 1), atY(value)]);
  const others = visible().filter((s) => s !== chosen);
  const opacity = Math.min(0.5, Math.max(0.08, 20 / others.length)); // the fewer, the clearer
  for (const s of others) root.append(svg("path", { class: `line faint ${s.right ? "right" : "wrong"}`, opacity, d: path(line(s)) }));
  const near = svg("path", { class: "line near", d: "" });
  root.append(near);
  const points = line(chosen);
  const tone = chosen.right ? "right" : "wrong";
  root.append(
    svg("path", { class: `line ${tone}`, "stroke-width": 1.6, "stroke-dasharray": "1 5", d: path(points.slice(leave - 1)) }),
    svg("path", { class: `line ${tone}`, "stroke-width": 2.6, "data-part": "chosen", d: path(points.slice(0, leave)) }),
    ...points.map(([x, y], i) => svg("circle", { class: `fill-${tone}`, cx: x, cy: y, r: i < leave ? 3.2 : 2 })),
    svg("circle", { class: `line ${tone}`, "stroke-width": 2, "data-part": "exit", cx: points[leave - 1][0], cy: points[leave - 1][1], r: 7 }),
    labels,
  );
  const nearest = (event) => {
    const y = event.clientY - root.getBoundingClientRect().top;
    const i = iterationAt(event, root, chart.x0, chart.x1);
    let best = { distance: 16 };
    for (const s of [chosen, ...others]) {
      const distance = Math.abs(atY(valuesOf(s)[i - 1]) - y);
      if (distance < best.distance) best = { distance, s, i };
    }
    return best;
  };
  root.append(svg("rect", {
    class: "hit", x: chart.x0, y: chart.y1 - 6, width: chart.x1 - chart.x0, height: chart.y0 - chart.y1 + 12,
    onpointermove: (event) => {
      const { s, i } = nearest(event);
      if (!s) { near.setAttribute("d", ""); tip.hide(); return; }
      near.setAttribute("d", path(line(s)));
      near.setAttribute("class", `line near ${s.right ? "right" : "wrong"}`);
      const shares = s.probabilities[i - 1].map((p, c) => `${CLASSES[c]} ${p.toFixed(3)}`).join(", ");
      tip.show(event, `${shorten(s.text, 90)}\niteration ${i}: ${shares}; ${UNCERTAINTY} ${s.entropy[i - 1].toFixed(3)}\nleft after ${s.exit}, ${s.right ? "right" : "wrong"}`);
    },
    onpointerleave: () => { near.setAttribute("d", ""); tip.hide(); },
    onclick: (event) => { const { s } = nearest(event); if (s) select(s.row); },
  }));
}

function drawTrajectory() {
  const measure = MEASURES[state.measure];
  drawLines(byId("trajectory-figure"), {
    height: 300, label: measure.label, from: measure.from, to: 1,
    valuesOf: (s) => s.probabilities.map((p) => measure.of(p, s)),
    before: ({ plot, atY, x0, x1 }, write) => {
      const two = CLASSES.length === 2;
      if (two && state.measure === "true") {
        plot.append(svg("line", { class: "axis", x1: x0, x2: x1, y1: atY(0.5), y2: atY(0.5) }));
      }
      if (!HAS_MARGIN || policy.margin === 0 || (!two && state.measure !== "lead")) return;
      const m = policy.margin;
      const [low, high, name] = {
        true: [0.5 - m, 0.5 + m, `margin: 0.5 ± ${m}`],
        winner: [0.5, 0.5 + m, `margin: 0.5 + ${m}`],
        lead: [0, 2 * m, `margin: 2 × ${m}`],
      }[state.measure];
      plot.prepend(svg("rect", { class: "band", "data-part": "margin", x: x0, width: x1 - x0, y: atY(high), height: atY(low) - atY(high) }));
      write(x1 - 4, atY(high) - 5, name);
    },
  });
  const most = Math.max(policy.mode === "entropy_raw" ? Math.log(CLASSES.length) : 1, policy.stage_one ? policy.delta : 0);
  drawLines(byId("entropy-figure"), {
    height: 130, label: UNCERTAINTY, from: 0, to: most, valuesOf: (s) => s.entropy,
    before: ({ plot, atY, x0, x1 }, write) => {
      if (!policy.stage_one) return;
      const y = atY(policy.delta);
      plot.append(svg("line", { class: "limit", "data-part": "delta", x1: x0, x2: x1, y1: y, y2: y }));
      write(x1 - 4, y - 5, `delta ${policy.delta}`);
    },
  });
}

function select(row, scroll = true) {
  state.selected = row;
  markChosen(scroll);
  drawVerdict();
  drawTrajectory();
}

// Chooses a sentence from elsewhere on the page: filters that hide it are lifted, and the section is shown.
function open(row) {
  if (!visible().some((s) => s.row === row)) setFilters({ search: "", outcome: "all", when: "all" });
  select(row);
  byId("trajectories").scrollIntoView();
}

function setFilters(changes) {
  Object.assign(state, changes);
  for (const id of ["search", "outcome", "when", "measure"]) byId(id).value = state[id];
  const found = visible();
  if (found.length && !found.some((s) => s.row === state.selected)) state.selected = found[0].row;
  drawList(found);
  drawVerdict();
  drawTrajectory();
}

function step(event) {
  const found = visible();
  const at = found.findIndex((s) => s.row === state.selected);
  const target = {
    ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: found.length - 1,
  }[event.key];
  if (target === undefined || !found.length) return;
  event.preventDefault();
  select(found[Math.min(found.length - 1, Math.max(0, target))].row);
}
