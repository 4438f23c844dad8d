// The drill-down: one tensor in one iteration, its rule, why it loses what it loses, and its values.

const interval = ([low, high], format) => (low === high ? format(low) : `${format(low)} to ${format(high)}`);

function drawCell() {
  const { tensor: t, row } = state;
  const cell = cellAt(t, row);
  const about = tensors[t];
  byId("cell-name").textContent = fullName(t, row);
  byId("cell-rule").textContent = about.rule;
  byId("cell-reason").replaceChildren(html("strong", {}, "Why: "), cell.reason);
  byId("before").disabled = row === 0;
  byId("after").disabled = row + 1 >= cellsOf(t).length;
  const points = cell.real.percentiles.map((value) => figures(value));
  const entry = (name, value, wide = false) => html("div", { class: wide ? "wide" : null }, html("dt", {}, name), html("dd", { "data-number": name }, value));
  byId("cell-numbers").replaceChildren(...[
    entry("SQNR", decibels(cell.sqnr_db, 2)),
    entry("its own grid alone", decibels(cell.grid_db, 2)),
    cell.fresh_db === null ? null : entry("of an exact input", decibels(cell.fresh_db, 2)),
    cell.operand_db === null ? null : entry("as matmuls read it", decibels(cell.operand_db, 2)),
    entry("RMS error", `${figures(cell.error_lsb)} LSB`),
    entry("clipped", share(cell.clipped)),
    entry("range used", percent(cell.range_used)),
    cell.zero_point === 0 ? null : entry("zero point", String(cell.zero_point)),
    entry("LSB", interval(cell.lsb, figures) + (about.fixed_unit ? ", by contract" : "")),
    entry("root mean square", figures(cell.real.rms)),
    entry("real values", `${figures(cell.real.min)} to ${figures(cell.real.max)}`),
    entry("values counted", cell.values.toLocaleString("en")),
    entry(`percentiles ${data.percentiles.join(", ")}`, points.join("  ·  "), true),
  ].filter(Boolean));
  drawHistogram(cell);
  drawCourse();
  drawBeside();
}

/* Bars of a histogram over its own range, and the grid's ends where they are near; `beside` is what is said
   of ends that lie further out. */
function drawBars(host, { histogram, low, high, logarithmic, height, label, description, unit, margin, counted = "values" }) {
  const { start, width, counts } = histogram;
  const stop = start + width * counts.length;
  const span = stop - start;
  const near = (end) => end > start - 0.5 * span && end < stop + 0.5 * span;
  const from = near(low) ? Math.min(start, low - 0.02 * span) : start;
  const to = near(high) ? Math.max(stop, high + 0.02 * span) : stop;
  const most = Math.max(...counts);
  const y = logarithmic
    ? { from: Math.log10(0.6), to: Math.log10(most) + 0.15, ticks: ticks(0, Math.log10(most), 4).filter(Number.isInteger), label: counted, format: (v) => (10 ** v).toLocaleString("en", { notation: "compact" }) }
    : { from: 0, to: 1.06 * most || 1, ticks: ticks(0, most, 4), label: counted, format: (v) => v.toLocaleString("en", { notation: "compact" }) };
  const chart = axes(host, { height, description, margin, x: { from, to, ticks: ticks(from, to, host.clientWidth < 360 ? 4 : 6), label, format: (v) => v.toLocaleString("en", { notation: Math.abs(v) >= 1e4 ? "compact" : "standard" }) }, y });
  const { root, plot, atX, atY, y0, y1, x0, x1 } = chart;
  const at = (count) => atY(logarithmic ? Math.log10(Math.max(count, 0.6)) : count);
  const bars = counts.map((count, i) => (count === 0 ? "" : `M${atX(start + i * width).toFixed(1)} ${y0}V${at(count).toFixed(1)}H${Math.max(atX(start + (i + 1) * width) - 0.4, atX(start + i * width) + 0.6).toFixed(1)}V${y0}Z`)).join("");
  for (const [end, inside, outside] of [[low, start, x0], [high, stop, x1]]) {
    if (!near(end)) continue;
    const x = atX(end);
    plot.append(svg("rect", { class: "beyond", x: Math.min(x, outside), width: Math.abs(outside - x), y: y1, height: y0 - y1 }));
    root.append(svg("line", { class: "end", "data-end": end, x1: x, x2: x, y1: y1 - 4, y2: y0 }));
    root.append(svg("text", { class: "halo", x: x + (end === low ? 4 : -4), y: y1 + 6, "text-anchor": end === low ? "start" : "end" }, end.toLocaleString("en")));
  }
  root.append(svg("path", { class: "fill-data", "data-part": "bars", d: bars }));
  root.append(svg("rect", {
    class: "hit", x: x0, width: x1 - x0, y: y1, height: y0 - y1,
    onpointermove: (event) => {
      const value = from + ((event.clientX - root.getBoundingClientRect().left - x0) / (x1 - x0)) * (to - from);
      const i = Math.floor((value - start) / width);
      const count = i >= 0 && i < counts.length ? counts[i] : 0;
      tip.show(event, `${figures(start + i * width, 4)} to ${figures(start + (i + 1) * width, 4)} ${unit}\n${count.toLocaleString("en")} values`);
    },
    onpointerleave: () => tip.hide(),
  }));
  return { ...chart, far: [low, high].filter((end) => !near(end)) };
}

function drawHistogram(cell) {
  const host = byId("histogram");
  const [low, high] = cell.ends;
  const figure = html("div");
  const note = html("p", { class: "muted", id: "histogram-note" });
  host.replaceChildren(figure, note);
  const { far } = drawBars(figure, {
    histogram: cell.histogram, low, high, logarithmic: byId("logarithmic").checked, height: 210, unit: "LSB", margin: { left: 50 },
    label: "real value, LSB", description: `Histogram of the real values of ${fullName(state.tensor, state.row)} in LSBs; the integers end at ${low} and ${high}`,
  });
  const width = figures(cell.histogram.width * cell.lsb[0]);
  note.textContent = `One LSB is ${interval(cell.lsb, figures)}${cell.lsb[0] === cell.lsb[1] ? `, a bar ${width}` : ", per channel"}.`
    + (far.length ? ` The integers end at ${far.map((end) => end.toLocaleString("en")).join(" and ")}, beyond this picture.` : " Dashed: the integers' ends.");
}

// The measure over the iterations, of the checkpoint shown and, fainter, of the others.
function drawCourse() {
  const host = byId("course");
  const { tensor: t, row } = state;
  const measure = MEASURES[state.measure];
  if (tensors[t].once || LAST < 2) { host.replaceChildren(); return; }
  const lines = data.checkpoints.map((checkpoint) => cellsOf(t, checkpoint).map((cell, i) => measure.of(cell, t, i)));
  const values = lines.flat();
  const [least, most] = [Math.min(...values, measure.two ? 0 : Infinity), Math.max(...values)];
  const room = 0.08 * (most - least) || 0.5 * Math.abs(most) || 1;
  const [from, to] = [measure.two ? least - room : Math.max(state.measure === "sqnr" ? -Infinity : 0, least - room), most + room];
  const { root, atX, atY } = axes(host, {
    height: 150, description: `${measure.label} of ${tensors[t].name} by iteration`, margin: { left: 50 }, x: iterationAxis(host),
    y: { from, to, ticks: ticks(from, to, 4), label: measure.label, format: (v) => figures(v, 4) },
  });
  lines.forEach((line, index) => {
    if (index !== state.checkpoint) root.append(svg("path", { class: "line other", "stroke-width": 1.2, "stroke-dasharray": "4 3", d: path(line.map((v, i) => [atX(i + 1), atY(v)])) }));
  });
  const line = lines[state.checkpoint];
  root.append(svg("path", { class: "line data", "stroke-width": 2, d: path(line.map((v, i) => [atX(i + 1), atY(v)])) }),
    ...line.map((v, i) => svg("circle", { class: "fill-data", cx: atX(i + 1), cy: atY(v), r: i === row ? 5 : 2.6, ...says(describeCell(t, i)) })));
}

// All checkpoints' numbers of this cell in one table.
function drawBeside() {
  const host = byId("beside");
  if (data.checkpoints.length < 2) { host.replaceChildren(); return; }
  const { tensor: t, row } = state;
  const base = cellAt(t, row, data.checkpoints[0]).sqnr_db;
  host.replaceChildren(html("div", { class: "scroller" }, html("table", {},
    html("thead", {}, html("tr", {}, ...["checkpoint", "SQNR, dB", "difference", "clipped", "error, LSB", "used"].map((name, i) => html("th", { scope: "col", class: i ? null : "text" }, name)))),
    html("tbody", {}, ...data.checkpoints.map((checkpoint, index) => {
      const cell = cellAt(t, row, checkpoint);
      return html("tr", {}, html("th", { scope: "row", class: "text" }, checkpoint.name),
        ...[cell.sqnr_db.toFixed(2), index ? signed(cell.sqnr_db - base, 2) : "–", share(cell.clipped), figures(cell.error_lsb), percent(cell.range_used)].map((text) => html("td", {}, text)));
    })))));
}
