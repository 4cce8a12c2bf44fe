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
// A picture opens large at a click; arrow keys go to its neighbours, Escape or a click closes it.
const pictures = [...document.querySelectorAll(".enlarge")];
if (pictures.length) {
  const dialog = document.createElement("dialog");
  dialog.className = "large";
  dialog.innerHTML =
    '<img alt=""><p><span></span><button type="button" aria-label="Previous picture">‹</button>' +
    '<button type="button" aria-label="Next picture" autofocus>›</button><button type="button">Close</button></p>';
  document.body.append(dialog);
  const [image, words] = [dialog.querySelector("img"), dialog.querySelector("span")];
  const [back, on, close] = dialog.querySelectorAll("button");
  let place = 0;
  const show = (number) => {
    place = (number + pictures.length) % pictures.length;
    const [panel, small] = [pictures[place].closest(".panel"), pictures[place].querySelector("img")];
    dialog.classList.toggle("drawing", panel.classList.contains("drawing"));
    image.style.setProperty("--ratio", small.naturalWidth / small.naturalHeight);
    image.src = small.src;
    image.alt = small.alt;
    const title = panel.closest(".case").querySelector("h5").textContent;
    words.textContent = `${title} · ${panel.querySelector("figcaption").textContent.trim()}`;
    if (!dialog.open) dialog.showModal();
  };
  pictures.forEach((picture, number) => picture.addEventListener("click", () => show(number)));
  back.addEventListener("click", () => show(place - 1));
  on.addEventListener("click", () => show(place + 1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target === image) dialog.close();
  });
  dialog.addEventListener("close", () => pictures[place].focus());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(place + step);
  });
}
