// Section 4: activation scales per iteration against shared ones, as a study measured them.

const SCALES = {
  per_iteration: { label: "one set per iteration", line: "line right", fill: "fill-right", dash: null },
  shared: { label: "one set for all iterations", line: "line wrong", fill: "fill-wrong", dash: "6 4" },
};

function drawAblation() {
  const host = byId("ablation-figures");
  if (!host) return;
  const rows = data.ablation;
  const measure = byId("ablation-measure").value;
  const format = measure === "sqnr_db" ? (v) => decibels(v) : (v) => percent(v, 1);
  const scopes = [...new Set(rows.map((row) => row.scope))];
  const bits = [...new Set(rows.map((row) => row.bits))].sort((a, b) => b - a);
  const values = rows.map((row) => row[measure]);
  const room = 0.1 * (Math.max(...values) - Math.min(...values)) || 0.05;
  const [from, to] = [Math.min(...values) - room, Math.max(...values) + room];
  const panels = scopes.map(() => html("div"));
  host.replaceChildren(key(...Object.values(SCALES).map(({ label, line }) => [`var(--${line.split(" ")[1]})`, label, "bar"])), html("div", { class: "several" }, ...scopes.map((scope, i) => html("div", {}, html("h3", {}, scope), html("div", { class: "figure" }, panels[i])))));
  scopes.forEach((scope, index) => {
    const { root, atX, atY } = axes(panels[index], {
      height: 230, description: `${measure} of ${scope} by bits of the activations`, margin: { left: 58 },
      x: { from: -0.4, to: bits.length - 0.6, ticks: bits.map((_, i) => i), label: "bits of the activations", format: (v) => String(bits[v]) },
      y: { from, to, ticks: ticks(from, to, 5), label: "", format: (v) => (measure === "sqnr_db" ? figures(v) : percent(v, 0)) },
    });
    for (const [scales, { label, line, fill: inside, dash }] of Object.entries(SCALES)) {
      const found = rows.filter((row) => row.scope === scope && row.scales === scales).sort((a, b) => b.bits - a.bits);
      const place = (row) => [atX(bits.indexOf(row.bits)), atY(row[measure])];
      root.append(svg("path", { class: line, "stroke-width": 2, "stroke-dasharray": dash, d: path(found.map(place)) }));
      for (const row of found) {
        const [x, y] = place(row);
        const says95 = says(`${scope}, ${row.bits} bits, ${label}: ${format(row[measure])}`);
        root.append(scales === "shared"
          ? svg("rect", { class: inside, "data-scales": scales, "data-value": row[measure], x: x - 4, y: y - 4, width: 8, height: 8, ...says95 })
          : svg("circle", { class: inside, "data-scales": scales, "data-value": row[measure], cx: x, cy: y, r: 4.5, ...says95 }));
      }
    }
  });
  byId("ablation-table").replaceChildren(
    html("thead", {}, html("tr", {}, ...["scope", "bits", "scales", "accuracy", "SQNR, dB", "answers as float's"].map((text, i) => html("th", { scope: "col", class: i ? null : "text" }, text)))),
    html("tbody", {}, ...rows.map((row) => html("tr", {}, html("th", { scope: "row", class: "text" }, row.scope), ...[row.bits, SCALES[row.scales].label, percent(row.accuracy, 2), row.sqnr_db.toFixed(2), percent(row.agreement, 2)].map((text) => html("td", {}, String(text)))))));
}
