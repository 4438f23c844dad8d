// What every figure shares: elements, scales, axes, the tooltip. Text goes in as text nodes only.

const data = JSON.parse(document.getElementById("data").textContent);
const LAST = data.model.iterations;
const ITERATIONS = Array.from({ length: LAST }, (_, i) => i + 1);
const CLASSES = data.model.classes;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const byId = (id) => document.getElementById(id);
const percent = (value, digits = 1) => (100 * value).toFixed(digits) + " %";
const shorten = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
const classColour = (index) => `var(--class-${index % 8})`;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const scale = (from, to, start, end) => (value) =>
  start + ((value - from) / (to - from || 1)) * (end - start);

// About `count` round numbers from..to.
function ticks(from, to, count) {
  const raw = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) found.push(+(i * step).toFixed(10));
  return found;
}

// Every n-th iteration, so that the labels do not touch.
const iterationTicks = (width) => {
  const every = Math.max(1, Math.ceil((LAST * 22) / width));
  return ITERATIONS.filter((i) => every === 1 || i === 1 || i % every === 0);
};

/* Axes in `host`, drawn at its own width, so that text keeps its size.
   x, y: {from, to, ticks, label, format}; returns the SVG and the two scales. */
function axes(host, { height, x, y, description, margin = {} }) {
  const { top = 12, right = 14, bottom = 38, left = 46 } = margin;
  const width = Math.max(host.clientWidth, 160);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description });
  const [x0, x1, y0, y1] = [left, width - right, height - bottom, top];
  const atX = scale(x.from, x.to, x0, x1);
  const atY = scale(y.from, y.to, y0, y1);
  const plot = svg("g");
  root.append(plot);
  for (const tick of y.ticks) {
    plot.append(svg("line", { class: "gridline", x1: x0, x2: x1, y1: atY(tick), y2: atY(tick) }));
    plot.append(svg("text", { x: x0 - 7, y: atY(tick) + 4, "text-anchor": "end" }, y.format ? y.format(tick) : String(tick)));
  }
  plot.append(svg("line", { class: "axis", x1: x0, x2: x1, y1: y0, y2: y0 }));
  for (const tick of x.ticks) {
    plot.append(svg("text", { x: atX(tick), y: y0 + 16, "text-anchor": "middle" }, x.format ? x.format(tick) : String(tick)));
  }
  plot.append(svg("text", { class: "axis-label", x: (x0 + x1) / 2, y: height - 5, "text-anchor": "middle" }, x.label));
  plot.append(svg("text", {
    class: "axis-label", transform: `translate(11 ${(y0 + y1) / 2}) rotate(-90)`, "text-anchor": "middle",
  }, y.label));
  host.replaceChildren(root);
  return { root, plot, atX, atY, x0, x1, y0, y1, width, height };
}

const iterationAxis = (host) => ({
  from: 0.5, to: LAST + 0.5, ticks: iterationTicks(host.clientWidth - 60), label: "iteration",
});

// The iteration under the pointer, for an axis from x0 to x1.
const iterationAt = (event, root, x0, x1) => {
  const x = event.clientX - root.getBoundingClientRect().left;
  return Math.min(LAST, Math.max(1, Math.round(0.5 + ((x - x0) / (x1 - x0)) * LAST)));
};

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function key(...entries) {
  return html("div", { class: "key" }, ...entries.map(([colour, name, kind = ""]) =>
    html("span", {}, colour ? html("i", { class: kind, style: `background:${colour}` }) : null, name)));
}

const tip = {
  box: byId("tip"),
  show(event, text) {
    this.box.textContent = text;
    this.box.hidden = false;
    const { innerWidth, innerHeight } = window;
    const place = event.target.getBoundingClientRect();
    this.follows = event.clientX !== undefined; // the pointer, not the keyboard's focus
    const [x, y] = this.follows ? [event.clientX, event.clientY] : [place.right, place.top];
    const { width, height } = this.box.getBoundingClientRect();
    this.box.style.left = `${Math.max(4, x + 14 + width > innerWidth ? x - width - 12 : x + 14)}px`;
    this.box.style.top = `${Math.max(4, y + 14 + height > innerHeight ? y - height - 10 : y + 14)}px`;
  },
  hide() { this.box.hidden = true; },
};

// Attributes of an element that shows `text` to pointer and keyboard.
const says = (text) => ({
  onpointermove: (event) => tip.show(event, text),
  onpointerleave: () => tip.hide(),
  onfocus: (event) => tip.show(event, text),
  onblur: () => tip.hide(),
});
