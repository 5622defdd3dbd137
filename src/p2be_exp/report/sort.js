"use strict";
// A button in the head of each column sorts the rows of every group by itself; rows without a value stay last.
for (const table of document.querySelectorAll("table.board")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [column, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      for (const group of table.tBodies) {
        const rows = [...group.rows].filter((row) => !row.classList.contains("block"));
        const value = (row) => row.cells[column].dataset.value ?? "";
        const order = head.dataset.kind === "text"
          ? (a, b) => a.localeCompare(b, "en", { numeric: true })
          : (a, b) => a - b;
        rows.sort((one, other) => {
          const [a, b] = [value(one), value(other)];
          if (a === "" || b === "") return (a === "") - (b === "");
          return descending ? order(b, a) : order(a, b);
        });
        group.append(...rows);
      }
    });
  }
}
