// Section 2: integers of every stored weight, and how far the channels' scales differ.

// Of a group a multiplier moves the ends, which are no rail then.
const atRails = (entry) => (entry.grouped ? "" : `${share(entry.rails)} at ±${entry.limit.toLocaleString("en")}, `);
const sizeOf = (shape) => shape.join(" × ");

function drawWeights() {
  const entries = Object.entries(shown().weights);
  byId("weight-figures").replaceChildren(...entries.map(([name, entry]) => html("article", { "data-weight": name },
    html("h3", {}, name),
    html("p", {}, html("strong", {}, decibels(entry.sqnr_db)), `, ${sizeOf(entry.shape)}, ${entry.bits} bits`, entry.grouped ? " times a group's multiplier" : ""),
    html("p", {}, `${atRails(entry)}${share(entry.zeros)} are 0`),
    html("div", { class: "figure" }))));
  for (const card of byId("weight-figures").children) {
    const [name, entry] = entries.find(([key]) => key === card.dataset.weight);
    drawBars(card.querySelector(".figure"), {
      // an integer's bar stands around it
      histogram: { ...entry.histogram, start: entry.histogram.start - (entry.histogram.width % 2) / 2 }, low: entry.grouped ? -Infinity : -entry.limit, high: entry.grouped ? Infinity : entry.limit, logarithmic: false, height: 132, unit: "",
      label: "integer", description: `Integers of ${name}: ${atRails(entry)}${share(entry.zeros)} are 0`, counted: "", margin: { left: 36, bottom: 34, right: 8 },
    });
  }
  drawScales(entries.filter(([, entry]) => entry.scales.channels > 1));
  const row = (cells, tag) => html("tr", {}, ...cells.map((text, i) => html(i ? tag : "th", { class: i ? null : "text", scope: tag === "th" ? "col" : i ? null : "row" }, text)));
  byId("weight-table").replaceChildren(
    html("thead", {}, row(["weight", "shape", "SQNR, dB", "bits", "at the ends", "zero", "channels", "LSB, least", "median", "largest", "largest / least"], "th")),
    html("tbody", {}, ...entries.map(([name, entry]) => row([
      name, sizeOf(entry.shape), entry.sqnr_db.toFixed(2), entry.bits, entry.grouped ? "–" : share(entry.rails), share(entry.zeros), entry.scales.channels,
      ...[0, 2, 4].map((i) => figures(entry.scales.quantiles[i])), figures(entry.scales.spread),
    ].map(String), "td"))));
}

// Least, quartiles and largest LSB of the output channels, each over the weight's median one, logarithmic.
function drawScales(entries) {
  const host = byId("scales-figure");
  if (!entries.length) { host.replaceChildren(html("p", { class: "caption" }, "Every weight has one scale.")); return; }
  const relative = entries.map(([, entry]) => entry.scales.quantiles.map((value) => Math.log2(value / entry.scales.quantiles[2])));
  const from = Math.floor(Math.min(...relative.flat()) - 0.01);
  const to = Math.ceil(Math.max(...relative.flat()) + 0.01);
  const narrow = host.clientWidth < 520;
  const step = 26;
  const { root, atX, y1 } = axes(host, {
    height: 44 + step * entries.length, description: "LSB of the output channels over the weight's median one", margin: { left: narrow ? 116 : 150, top: 6 },
    x: { from, to, ticks: ticks(from, to, narrow ? 4 : 8).filter(Number.isInteger), label: narrow ? "LSB / the median channel's" : "LSB of an output channel / the median channel's", format: (v) => `${v < 0 ? `1/${2 ** -v}` : 2 ** v}x` },
    y: { from: 0, to: 1, ticks: [], label: "" },
  });
  entries.forEach(([name, entry], i) => {
    const y = y1 + step * (i + 0.5) - 3;
    const [low, q1, median, q3, high] = relative[i].map(atX);
    root.append(
      svg("text", { x: narrow ? 108 : 142, y: y + 4, "text-anchor": "end" }, name.replace(/\.weight$/, "")),
      svg("line", { class: "other", x1: low, x2: high, y1: y, y2: y, "stroke-width": 1.5 }),
      svg("rect", { class: "fill-data", x: q1, width: Math.max(1, q3 - q1), y: y - 5, height: 10, rx: 2 }),
      svg("circle", { style: "fill:var(--ground)", cx: median, cy: y, r: 2.6 }),
      svg("rect", { class: "hit", x: Math.min(low, 0), width: high - Math.min(low, 0) + 8, y: y - step / 2, height: step, ...says(`${name}: ${entry.scales.channels} channels\nLSB ${figures(entry.scales.quantiles[0])} to ${figures(entry.scales.quantiles[4])}, median ${figures(entry.scales.quantiles[2])}\nlargest / least ${figures(entry.scales.spread)}`) }));
  });
}
