// Wiring, and drawing everything whenever the page's width changes.

function drawAll() {
  drawTrajectory();
  drawExits();
  drawAccuracy();
  drawQuadrants();
  drawAttention();
  drawProjection();
}

byId("search").addEventListener("input", (event) => setFilters({ search: event.target.value }));
for (const id of ["outcome", "when", "measure"]) {
  byId(id).addEventListener("change", (event) => setFilters({ [id]: event.target.value }));
}
byId("reset").addEventListener("click", () => setFilters({ search: "", outcome: "all", when: "all", measure: "true" }));
byId("list").addEventListener("keydown", step);
byId("attention-sentence").addEventListener("change", (event) => { attention.index = Number(event.target.value); drawAttention(); });
byId("attention-head").addEventListener("change", (event) => { attention.head = event.target.value; drawAttention(); });
byId("attention-special").addEventListener("change", (event) => { attention.special = !event.target.checked; drawAttention(); });
byId("iteration").addEventListener("input", (event) => { stop(); show(Number(event.target.value)); });
byId("together").addEventListener("change", (event) => { stop(); together(event.target.checked); });
byId("play").addEventListener("click", play);
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hide(); });
addEventListener("scroll", () => { if (tip.follows) tip.hide(); }, { passive: true });

// Begin with the right exit whose confidence grew most on the way.
const growth = (s) => (s.quadrant === 0 && s.exit < LAST ? s.trueClass[s.exit - 1] - s.trueClass[0] : -1);
state.selected = sentences.reduce((best, s) => (growth(s) > growth(best) ? s : best)).row;
fillAttention();
drawMultiples();
setFilters({});
drawAll();

let width = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawAll();
}).observe(document.body);
