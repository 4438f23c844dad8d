// Section 1: the map of tensors and iterations, its measures, colours and keys.

const tensors = Object.entries(data.tensors).map(([name, about]) => ({ name, ...about }));
const state = { checkpoint: 0, measure: "sqnr", tensor: 0, row: 0 };
const shown = () => data.checkpoints[state.checkpoint];
const cellsOf = (t, checkpoint = shown()) => checkpoint.tensors[tensors[t].name];
const cellAt = (t, row, checkpoint = shown()) => cellsOf(t, checkpoint)[row];
const fullName = (t, row) => (tensors[t].once ? tensors[t].name : `iteration.${row + 1}.${tensors[t].name}`);

const within = (value) => Math.min(1, Math.max(0, value));
const decibels = (value, digits = 1) => `${value.toFixed(digits)} dB`;
const signed = (value, digits) => (value > 0 ? "+" : "") + value.toFixed(digits);
const figures = (value, digits = 3) => String(Number(value.toPrecision(digits)));
const share = (value) => (value === 0 ? "0 %" : value < 1e-4 ? "<0.01 %" : percent(value, value < 0.1 ? 2 : 1));

/* What a cell can show: `of` its number, `ink` 0..1 of it, -1..1 for the measure that has two sides,
   `brief` in the cell, `say` in words, `ends` of the legend. */
const MEASURES = {
  sqnr: {
    label: "SQNR", of: (cell) => cell.sqnr_db, ink: (v) => within((50 - v) / 40), brief: (v) => v.toFixed(0), say: (v) => decibels(v),
    ends: ["50 dB and more", "10 dB and less"], note: "Signal against quantisation noise. 6 dB are one bit; at 20 dB the noise is a tenth of the signal.",
  },
  made: {
    label: "this iteration's noise", of: (cell) => cell.made_share, ink: (v) => (v === null ? 0 : within(v)), brief: (v) => (v === null ? "–" : (100 * v).toFixed(0)), say: (v) => (v === null ? "made before the iterations" : percent(v, 0)),
    ends: ["0 %: from before", "100 %: made here"], note: "Share of the noise that the iteration makes when it starts from the float model's own hidden state. The rest came from the iterations before.",
  },
  own: {
    label: "own grid's noise", of: (cell) => cell.own_share, ink: within, brief: (v) => (100 * v).toFixed(0), say: (v) => percent(v, 0),
    ends: ["0 %: handed on", "100 %: its own grid"], note: "Share of the noise that rounding the real values to this tensor's own integers explains. What is missing to 100 % came in with what it is made of.",
  },
  clipped: {
    label: "clipped", of: (cell) => cell.clipped, ink: (v) => (v > 0 ? within(0.15 + 0.85 * (Math.log10(v) + 5) / 4) : 0), brief: (v) => (v === 0 ? "" : v >= 0.001 ? (100 * v).toFixed(1) : "·"), say: share,
    ends: ["none", "10 % and more"], note: "Values at the end of the range that are off by more than one LSB, in %; a dot is less than 0.1 %.",
  },
  error: {
    label: "error, LSB", of: (cell) => cell.error_lsb, ink: (v) => (v > 0 ? within((Math.log10(v) + 1) / 3) : 0), brief: (v) => (v < 9.95 ? v.toFixed(1) : v < 999.5 ? v.toFixed(0) : `${(v / 1000).toFixed(0)}k`), say: (v) => `${figures(v)} LSB`,
    ends: ["0.1 LSB", "100 LSB and more"], note: "Root mean square error in steps of the tensor's own integers. Rounding alone is 0.29.",
  },
  used: {
    label: "range used", of: (cell) => cell.range_used, ink: within, brief: (v) => (100 * v).toFixed(0), say: (v) => percent(v, 0),
    ends: ["0 %", "100 % of the range"], note: "The largest magnitude of an integer as a share of the largest it could be. 18-bit sums are wide on purpose.",
  },
};
// Where a difference's colours end: at the checkpoint's largest of what is no exit, in whole dB.
const differenceEnd = () => Math.max(2, Math.ceil(Math.max(...Object.entries(data.difference[shown().name] || {})
  .filter(([name]) => !name.startsWith("exit.")).flatMap(([, values]) => values.map(Math.abs)))));

if (data.checkpoints.length > 1) MEASURES.difference = {
  label: "difference", two: true, of: (cell, t, row) => cell.sqnr_db - cellAt(t, row, data.checkpoints[0]).sqnr_db,
  ink: (v) => Math.min(1, Math.max(-1, v / differenceEnd())), brief: (v) => (Math.abs(v) < 0.5 ? "0" : signed(v, 0)), say: (v) => `${signed(v, 1)} dB`,
  get ends() { return [`-${differenceEnd()} dB: noisier`, `+${differenceEnd()} dB: less noise`]; }, note: `SQNR of the checkpoint shown minus that of ${data.checkpoints[0].name}.`,
};

const ramp = (ink) => `color-mix(in oklab, var(${ink < 0 ? "--wrong" : MEASURES[state.measure].two ? "--right" : "--heat"}) ${(100 * Math.abs(ink)).toFixed(1)}%, var(--band))`;

function describeCell(t, row) {
  const measure = MEASURES[state.measure];
  const cell = cellAt(t, row);
  return `${fullName(t, row)}: ${measure.label} ${measure.say(measure.of(cell, t, row))}${cell.below_bound ? ", below its bound" : ""}`;
}

function drawMap() {
  const table = byId("heatmap");
  const measure = MEASURES[state.measure];
  const head = html("thead", {}, html("tr", {}, html("th", { class: "names", scope: "col" }, "iteration"), ...ITERATIONS.map((i) => html("th", { scope: "col" }, String(i)))));
  const body = html("tbody", {}, ...tensors.map((tensor, t) => html("tr", { class: t === state.tensor ? "chosen" : "" },
    html("th", { scope: "row", title: tensor.name }, tensor.name),
    ...cellsOf(t).map((cell, row) => {
      const value = measure.of(cell, t, row);
      const ink = measure.ink(value);
      const chosen = t === state.tensor && row === state.row;
      return html("td", {
        role: "gridcell", tabindex: chosen ? 0 : -1, "aria-selected": chosen, colspan: tensor.once ? LAST : null,
        class: [Math.abs(ink) > 0.6 ? "over" : Math.abs(ink) > 0.42 ? "middle" : "", cell.below_bound ? "below" : ""].join(" ").trim() || null,
        style: `background:${ramp(ink)}`, "data-tensor": tensor.name, "data-row": row, "data-value": value,
        "aria-label": describeCell(t, row), ...says(describeCell(t, row)), onclick: () => choose(t, row),
      }, html("span", { "aria-hidden": "true" }, measure.brief(value) + (tensor.once ? " · made once" : "")));
    }))));
  table.replaceChildren(head, body);
  for (const part of [table, byId("legend")]) part.classList.toggle("two", Boolean(measure.two));
  const stops = Array.from({ length: 21 }, (_, i) => ramp(measure.two ? i / 10 - 1 : i / 20)).join(",");
  byId("legend").replaceChildren(html("span", {}, measure.ends[0]), html("span", { class: "ramp", style: `background:linear-gradient(90deg,${stops})` }), html("span", {}, measure.ends[1]),
    html("span", {}, html("i", { class: "frame" }), "below its bound"));
  byId("measure-note").textContent = measure.note;
}

function drawMeasures() {
  byId("measures").append(...Object.entries(MEASURES).map(([key, measure]) => html("label", {},
    html("input", { type: "radio", name: "measure", value: key, checked: key === state.measure ? "" : null, onchange: () => setMeasure(key) }),
    html("span", {}, measure.label))));
}

function setMeasure(key) {
  state.measure = key;
  // of the first checkpoint there is no difference to see
  if (key === "difference" && state.checkpoint === 0) setCheckpoint(1);
  else { drawMap(); drawCourse(); }
}

function setCheckpoint(index) {
  state.checkpoint = index;
  const chooser = byId("checkpoint");
  if (chooser) chooser.value = String(index);
  drawShown();
}

// The focus stays on the cell when the map is drawn anew.
function choose(t, row, focus = true) {
  Object.assign(state, { tensor: t, row: Math.min(row, cellsOf(t).length - 1) });
  tip.hide();
  drawMap();
  drawCell();
  if (focus) byId("heatmap").querySelector("[aria-selected=true]").focus({ preventScroll: false });
}

function walk(event) {
  const { tensor, row } = state;
  const last = LAST - 1;
  const target = {
    ArrowRight: [tensor, row + 1], ArrowLeft: [tensor, row - 1], ArrowDown: [tensor + 1, row], ArrowUp: [tensor - 1, row],
    Home: [tensor, 0], End: [tensor, last], PageDown: [tensors.length - 1, row], PageUp: [0, row],
  }[event.key];
  if (!target) return;
  event.preventDefault();
  const t = Math.min(tensors.length - 1, Math.max(0, target[0]));
  choose(t, Math.min(last, Math.max(0, target[1])));
}

function drawWorst() {
  byId("worst").replaceChildren(...shown().worst.map((entry) => html("li", {}, html("button", {
    type: "button", onclick: () => choose(tensors.findIndex((tensor) => tensor.name === entry.short), entry.row),
  }, html("span", {}, entry.tensor), html("span", { class: "num" }, decibels(entry.sqnr_db)), html("span", { class: "muted", title: entry.reason }, entry.reason)))));
}

function drawTiles() {
  const { agreement, weights, worst, exits } = shown();
  const cells = tensors.flatMap((tensor, t) => cellsOf(t).map((cell, row) => ({ cell, name: fullName(t, row) })));
  const clipped = cells.reduce((best, each) => (each.cell.clipped > best.cell.clipped ? each : best));
  const weight = Object.entries(weights).reduce((best, each) => (each[1].sqnr_db < best[1].sqnr_db ? each : best));
  const same = Math.round(agreement[LAST - 1] * data.data.sentences);
  const tile = (id, name, value, note) => html("div", {}, html("dt", {}, name), html("dd", { id }, value, " ", html("small", {}, note)));
  byId("tiles").replaceChildren(
    tile("tile-agreement", "answers as float's, last iteration", String(same), `of ${data.data.sentences}`),
    tile("tile-worst", "noisiest tensor", decibels(worst[0].sqnr_db), worst[0].tensor),
    tile("tile-clipped", "most clipped", share(clipped.cell.clipped), clipped.cell.clipped > 0 ? clipped.name : "nothing"),
    tile("tile-weight", "noisiest weight", decibels(weight[1].sqnr_db), weight[0]),
    tile("tile-below", "cells below their bound", String(cells.filter((each) => each.cell.below_bound).length), `of ${cells.length}`),
    ...(exits ? [tile("tile-flips", "sentences that leave elsewhere", percent(exits.as_set.exit_flips.mean), `of ${exits.sentences}`)] : []));
}
