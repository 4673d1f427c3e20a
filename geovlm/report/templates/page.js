"use strict";
// Tables sort by a click on a column; samples are filtered by task, stage and outcome.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, body, head, column));
  });
}

function sort(table, body, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[column];
    return cell ? cell.dataset.value ?? cell.textContent.trim() : "";
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!x || !y) return x ? -1 : y ? 1 : 0; // empty cells stay last
    const [n, m] = [parseFloat(x), parseFloat(y)];
    const order = isNaN(n) || isNaN(m) ? x.localeCompare(y) : n - m;
    return down ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
}

for (const form of document.querySelectorAll("form.filter")) {
  const section = form.closest("section");
  const cards = [...section.querySelectorAll(".card")];
  const more = section.querySelector("details.more");
  form.hidden = false;
  form.addEventListener("change", () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const card of cards) {
      const fits = ["task", "outcome"].every((key) => !wanted[key] || wanted[key] === card.dataset[key]);
      card.hidden = !fits;
      shown += fits;
      for (const part of card.querySelectorAll("[data-stage]")) {
        part.toggleAttribute("hidden", Boolean(wanted.stage) && wanted.stage !== part.dataset.stage);
      }
    }
    if (more && (wanted.task || wanted.outcome)) more.open = true;
    form.querySelector("output").textContent = `${shown} of ${cards.length} samples`;
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("#scores details, #audit details")) details.open = true;
});
