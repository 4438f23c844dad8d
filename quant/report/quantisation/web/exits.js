// Section 3: where sentences leave by integers and by floats, and what recalibrated thresholds give.

const within95 = ({ mean, interval: [low, high] }, format) => `${format(mean)} [${format(low)}, ${format(high)}]`;

function drawExits() {
  const host = byId("exit-figures");
  if (!host) return;
  host.replaceChildren(...data.checkpoints.map((checkpoint) => exitCard(checkpoint)));
  data.checkpoints.forEach((checkpoint, i) => drawMoves(host.children[i].querySelector(".figure"), checkpoint.exits));
}

function exitCard({ name, exits }) {
  const { as_set: asSet, equal_loss: equalLoss, full_depth: full } = exits;
  const reached = (entry) => (entry ? [`${entry.speedup_macs.toFixed(2)}x`, entry.points_lost_float.toFixed(2)] : ["–", "–"]);
  const head = ["thresholds", "float", "lost", "integers", "lost", "recalibrated", "lost"];
  const rows = [["as the policy has them", ...reached(asSet.float), ...reached(asSet.golden), "", ""],
    ...Object.values(equalLoss || {}).map((entry) => [`≤ ${entry.points} points lost`, ...reached(entry.float), ...reached(entry.kept), ...reached(entry.recalibrated)])];
  return html("div", { class: "exit", "data-exits": name },
    html("h3", {}, name),
    html("div", {}, html("div", { class: "figure" }),
      html("p", { class: "caption" }, `${within95(asSet.exit_flips, percent)} of the sentences leave elsewhere, ${within95(asSet.exit_difference, (v) => signed(v, 2))} iterations on average; `
        + `${within95(asSet.answer_flips, percent)} answer otherwise (at full depth ${percent(full.answer_flips.mean)}). 95 % bootstrap intervals.`)),
    html("div", { class: "scroller" }, html("table", {},
      html("thead", {}, html("tr", {}, ...head.map((text, i) => html("th", { scope: "col", class: i ? null : "text" }, text)))),
      html("tbody", {}, ...rows.map((row) => html("tr", {}, ...row.map((text, i) => html(i ? "td" : "th", { class: i ? null : "text", scope: i ? null : "row" }, text))))))));
}

// Counts by golden exit minus float exit; their axis is logarithmic, so that few sentences far away are seen.
function drawMoves(host, exits) {
  const { from: first, counts } = exits.as_set.difference;
  const far = Math.max(2, ...counts.map((count, i) => (count ? Math.abs(first + i) : 0)));
  const moves = Array.from({ length: 2 * far + 1 }, (_, i) => i - far);
  const level = (count) => (count ? 1 + Math.log10(count) : 0);
  const top = level(exits.sentences) * 1.12;
  const { root, atX, atY, y0, y1 } = axes(host, {
    height: 230, description: "Sentences by the exit of the integers minus the exit in float",
    x: { from: -far - 0.6, to: far + 0.6, ticks: moves.filter((m) => far < 8 || m % 2 === 0), label: "exit of the integers − exit in float, iterations", format: (v) => (v > 0 ? `+${v}` : String(v)) },
    y: { from: 0, to: top, ticks: [0, 1, 2, 3, 4].filter((v) => v <= top), label: "sentences", format: (v) => (v ? (10 ** (v - 1)).toLocaleString("en") : "0") },
  });
  const width = (atX(1) - atX(0)) * 0.76;
  for (const move of moves) {
    const count = counts[move - first] || 0;
    if (!count) continue;
    const y = atY(level(count));
    const text = `${count} of ${exits.sentences} sentences: ${move === 0 ? "the same iteration" : `${Math.abs(move)} ${move > 0 ? "later" : "earlier"} in integers`}`;
    root.append(
      svg("rect", { class: move === 0 ? "fill-still" : "fill-data", "data-move": move, "data-count": count, x: atX(move) - width / 2, width, y, height: y0 - y }),
      svg("text", { class: "halo", x: atX(move), y: y - 5, "text-anchor": "middle" }, String(count)),
      svg("rect", { class: "hit", x: atX(move - 0.5), width: atX(1) - atX(0), y: y1, height: y0 - y1, ...says(text) }));
  }
}
