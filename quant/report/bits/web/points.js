// The points as a scatter and as a table that sorts; the ablation's rows as a table.

const good = data.points.filter((point) => point.error === null);
const whole = (value) => (value === null ? "–" : Math.round(value).toLocaleString("en"));

function drawPareto() {
  const xs = good.map((p) => p.weight_bytes / 1e6);
  const ys = [...good.map((p) => p.accuracy), data.float.accuracy];
  const room = (values) => 0.06 * (Math.max(...values) - Math.min(...values)) || 0.05;
  const [x0, x1] = [Math.min(...xs) - room(xs), Math.max(...xs) + room(xs)];
  const [y0, y1] = [Math.min(...ys) - room(ys), Math.max(...ys) + room(ys)];
  const { root, atX, atY } = axes(byId("pareto"), {
    height: 320, description: "accuracy by bytes of the weights", margin: { left: 58 },
    x: { from: x0, to: x1, ticks: ticks(x0, x1, 6), label: "weights, MB" },
    y: { from: y0, to: y1, ticks: ticks(y0, y1, 5), label: "accuracy", format: (v) => percent(v, 0) },
  });
  const level = atY(data.float.accuracy);
  root.append(svg("line", { class: "limit", x1: atX(x0), x2: atX(x1), y1: level, y2: level }));
  for (const point of good) {
    const [x, y] = [atX(point.weight_bytes / 1e6), atY(point.accuracy)];
    const about = { ...says(`${point.name}: ${percent(point.accuracy, 2)}, ${whole(point.weight_bytes)} bytes`), tabindex: 0, "data-name": point.name };
    root.append(point.runs_on_hardware
      ? svg("rect", { class: "fill-right", x: x - 4.5, y: y - 4.5, width: 9, height: 9, ...about })
      : svg("circle", { class: "fill-wrong", cx: x, cy: y, r: 4.5, ...about }));
  }
}

const COLUMNS = [
  ["scheme", (p) => p.name, (v) => v],
  ["accuracy", (p) => p.accuracy, (v) => percent(v, 2)],
  ["as float", (p) => p.agreement, (v) => percent(v, 1)],
  ["SQNR, dB", (p) => p.sqnr, (v) => v.toFixed(1)],
  ["weight bytes", (p) => p.weight_bytes, whole],
  ["products × bits", (p) => p.products_x_bits, (v) => v.toExponential(2)],
  ["cycles", (p) => p.predicted_cycles, whole],
  ["at exit", (p) => p.exit.accuracy, (v) => percent(v, 2)],
  ["speedup", (p) => p.exit.speedup_macs, (v) => v.toFixed(2) + "×"],
  ["flips", (p) => p.exit.flips, (v) => percent(v, 1)],
  ["changed", (p) => p.exit.changed, (v) => percent(v, 1)],
];
let sorted = { column: 1, down: true };

function drawTable() {
  const value = COLUMNS[sorted.column][1];
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return (x < y ? -1 : x > y ? 1 : 0) * (sorted.down ? -1 : 1);
  };
  const heads = COLUMNS.map(([name], i) => html("th", { scope: "col", class: i ? null : "text", "aria-sort": i === sorted.column ? (sorted.down ? "descending" : "ascending") : null },
    html("button", { type: "button", onclick: () => { sorted = { column: i, down: i === sorted.column ? !sorted.down : i > 0 }; drawTable(); } }, name)));
  const rows = [...good].sort(order).map((p) => html("tr", { class: p.pareto ? "best" : null },
    ...COLUMNS.map(([, get, format], i) => html("td", { class: i ? null : "text" }, get(p) === null ? "–" : format(get(p))))));
  const failed = data.points.filter((p) => p.error !== null).map((p) => html("tr", { class: "failed" },
    html("td", { class: "text" }, p.name), html("td", { class: "text", colspan: COLUMNS.length - 1 }, p.error)));
  byId("table").replaceChildren(html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows, ...failed));
}

function drawAblation() {
  const host = byId("ablation-table");
  if (!host) return;
  const names = ["scope", "bits", "scales", "accuracy", "SQNR, dB", "answers as float's"];
  host.replaceChildren(
    html("thead", {}, html("tr", {}, ...names.map((name, i) => html("th", { scope: "col", class: i ? null : "text" }, name)))),
    html("tbody", {}, ...data.ablation.map((r) => html("tr", {}, html("td", { class: "text" }, r.scope),
      ...[r.bits, r.scales === "shared" ? "shared" : "per iteration", percent(r.accuracy, 2), r.sqnr_db.toFixed(1), percent(r.agreement, 1)].map((t) => html("td", {}, String(t)))))));
}

drawPareto();
drawTable();
drawAblation();
addEventListener("resize", drawPareto);
