"use strict";
// Click a column's name: its usual order first, the other on the next click, then the order that the page came with.
const other = { ascending: "descending", descending: "ascending" };
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const usual = head.dataset.first;
      const now = head.getAttribute("aria-sort");
      const next = now === "none" ? usual : now === usual ? other[usual] : "none";
      for (const each of heads) if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", next);
      body.append(...(next === "none" ? original : sorted(original, column, next)));
    });
  });
}
function sorted(rows, column, order) {
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[column];
    return column === 0 ? cell.textContent.trim() : "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  const compare = (first, second) => {
    const [a, b] = [key(first), key(second)];
    if (a === null || b === null) return (a === null) - (b === null); // what has no number stays last
    return sign * (column === 0 ? a.localeCompare(b) : a - b);
  };
  return [...rows].sort(compare);
}
// What is folded on the screen is not lost on paper.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const each of unfolded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of unfolded) each.open = false;
});
