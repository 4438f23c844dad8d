// Section 5: attention of [CLS], iterations downwards, tokens across.

const attention = { index: 0, head: "mean", special: true };

function drawAttention() {
  const host = byId("attention-figure");
  const entry = data.attention[attention.index];
  const s = byRow.get(entry.row);
  const weights = attention.head === "mean" ? entry.mean : entry.weights[Number(attention.head)];
  const shown = entry.tokens.map((_, t) => t).filter((t) => attention.special || !entry.special[t]);
  // The colours end where most words do: [CLS] itself, which outshines them, gets the last one and its number.
  const top = attention.head === "mean" ? entry.top.mean : entry.top.weights[Number(attention.head)];
  const beyond = weights.some((row) => shown.some((t) => row[t] > top));
  const [left, right, above] = [58, 128, 8];
  const width = Math.max(host.clientWidth, 320);
  const cell = Math.min(56, (width - left - right) / Math.max(1, shown.length));
  const high = Math.max(14, Math.min(26, 300 / LAST));
  const below = 12 + 6.2 * Math.min(16, Math.max(3, ...shown.map((t) => entry.tokens[t].length)));
  const height = above + high * LAST + below + 20;
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Attention of [CLS] in: ${s.text}` });
  const [bottom, end] = [above + high * LAST, left + cell * shown.length];
  weights.forEach((row, i) => {
    const y = above + i * high;
    root.append(svg("text", { class: i + 1 === s.exit ? "strong" : "", x: left - 8, y: y + high / 2 + 4, "text-anchor": "end" }, String(i + 1)));
    shown.forEach((t, n) => {
      const share = Math.min(100, Math.round((1000 * row[t]) / top) / 10);
      const text = `iteration ${i + 1}, “${entry.tokens[t]}”: ${percent(row[t], 2)} of the attention`;
      root.append(svg("rect", {
        class: "cell", x: left + n * cell, y, width: Math.max(1, cell - 1), height: high - 1, "data-value": row[t],
        style: `fill:color-mix(in oklab, var(--heat) ${share}%, var(--band))`, ...says(text),
      }));
      if (row[t] > top && cell >= 20) root.append(svg("text", {
        class: "over", x: left + (n + 0.5) * cell - 0.5, y: y + high / 2 + 3.5, "text-anchor": "middle", "pointer-events": "none",
      }, String(Math.round(100 * row[t]))));
    });
    const p = s.trueClass[i];
    root.append(svg("text", { x: end + 10, y: y + high / 2 + 4, class: i + 1 === s.exit ? "strong" : "" }, p.toFixed(2)));
  });
  shown.forEach((t, n) => root.append(svg("text", {
    transform: `translate(${left + (n + 0.5) * cell + 3} ${bottom + 11}) rotate(-50)`, "text-anchor": "end", "data-token": t,
  }, shorten(entry.tokens[t], 16))));
  root.append(
    svg("text", { class: "axis-label", transform: `translate(14 ${(above + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "iteration"),
    svg("text", { class: "axis-label", x: (left + end) / 2, y: height - 4, "text-anchor": "middle" }, "token"),
    svg("text", { x: end + 10, y: bottom + 14 }, "p of the"), svg("text", { x: end + 10, y: bottom + 27 }, "true class"));
  const line = above + s.exit * high - 0.5;
  if (s.exit < LAST) root.append(
    svg("line", { class: `line ${s.right ? "right" : "wrong"}`, "stroke-width": 2, "stroke-dasharray": "6 3", x1: left - 6, x2: end + 42, y1: line, y2: line }),
    svg("text", { class: "strong", x: end + 46, y: line + 4 }, "leaves here"));
  const steps = Array.from({ length: 24 }, (_, i) => i);
  const legend = html("div", { class: "key", id: "attention-legend" }, html("span", {}, "0"),
    html("span", { style: `flex:0 0 140px;height:.8em;margin-top:.35em;border-radius:2px;background:linear-gradient(90deg,${
      steps.map((i) => `color-mix(in oklab, var(--heat) ${Math.round((100 * i) / 23)}%, var(--band))`).join(",")})` }),
    html("span", {}, percent(top, 1) + (beyond ? " and more" : "")),
    html("span", {}, "share of [CLS]'s attention" + (beyond ? "; cells beyond the colours carry their number, in %" : "")));
  const note = html("p", { class: "caption" }, "“", s.text, "” · ", html("strong", {}, CLASSES[s.answer]), ", ", verdictOf(s.right), `, left after iteration ${s.exit}`);
  host.replaceChildren(note, legend, root);
}

function fillAttention() {
  byId("attention-sentence").replaceChildren(...data.attention.map((entry, i) => {
    const s = byRow.get(entry.row);
    return html("option", { value: i }, `${s.right ? "✓" : "✗"} ${s.exit}/${LAST} · ${shorten(s.text, 110)}`);
  }));
}
