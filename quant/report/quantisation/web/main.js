// Wiring, and drawing everything whenever the page's width changes.

function drawShown() {
  drawTiles();
  drawMap();
  drawWorst();
  drawCell();
  drawWeights();
}

function drawAll() {
  drawShown();
  drawExits();
  drawAblation();
}

byId("heatmap").addEventListener("keydown", walk);
byId("logarithmic").addEventListener("change", () => drawHistogram(cellAt(state.tensor, state.row)));
byId("before").addEventListener("click", () => choose(state.tensor, state.row - 1, false));
byId("after").addEventListener("click", () => choose(state.tensor, state.row + 1, false));
if (byId("checkpoint")) byId("checkpoint").addEventListener("change", (event) => setCheckpoint(Number(event.target.value)));
if (byId("ablation-measure")) byId("ablation-measure").addEventListener("change", drawAblation);
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hide(); });
addEventListener("scroll", () => { if (tip.follows) tip.hide(); }, { passive: true });

// Begin with the noisiest tensor.
const begin = shown().worst[0];
Object.assign(state, { tensor: tensors.findIndex((tensor) => tensor.name === begin.short), row: begin.row });
drawMeasures();
drawAll();

let width = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawAll();
}).observe(document.body);
