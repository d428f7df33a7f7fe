"use strict";
// Sorting and filtering of the trial table. Without it the page shows every trial, by number.
const table = document.querySelector("table.sortable");
if (table) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells);
  const filters = Array.from(document.querySelectorAll("select[data-filter]"));
  const count = document.getElementById("shown");

  const value = (row, column, numeric) => {
    const text = row.cells[column].textContent.trim();
    if (text === "") return null;
    return numeric ? Number.parseFloat(text) : text;
  };

  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));

  const sort = (column, direction) => {
    const numeric = headers[column].classList.contains("n");
    const keyed = rows.map((row, index) => ({ row, index, key: value(row, column, numeric) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
      return direction * compare(a.key, b.key) || a.index - b.index;
    });
    body.append(...keyed.map((each) => each.row));
    headers.forEach((header, index) => {
      if (index !== column) header.removeAttribute("aria-sort");
    });
    headers[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  };

  const filter = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = filters.some((each) => each.value !== "" && row.dataset[each.dataset.filter] !== each.value);
      shown += row.hidden ? 0 : 1;
    }
    if (count) count.textContent = `${shown} of ${rows.length} rows`;
  };

  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      sort(column, header.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    });
  });
  filters.forEach((each) => each.addEventListener("change", filter));
  for (const each of document.querySelectorAll("[data-needs-script]")) each.hidden = false;
  filter();
}
