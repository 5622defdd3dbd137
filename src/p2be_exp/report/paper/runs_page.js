// Filters hide rows, and a line beneath the table tells of the number that is pointed at or has the focus.
{
  const table = document.querySelector("table.board");
  const rows = [...table.tBodies[0].rows];
  const filters = [...document.querySelectorAll("select[data-column]")];
  const filter = () => {
    for (const row of rows) {
      const fact = (select) => row.querySelectorAll("td.fact")[select.dataset.column].dataset.value;
      row.hidden = filters.some((select) => select.selectedIndex > 0 && fact(select) !== select.value);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    document.querySelector(".count").textContent = `${shown} of ${rows.length} runs`;
  };
  const tell = (event) => {
    const cell = event.target.closest("td[data-told]");
    if (cell !== null) document.querySelector(".told").textContent = cell.dataset.told;
  };
  for (const select of filters) select.addEventListener("change", filter);
  for (const kind of ["pointerover", "focusin"]) table.addEventListener(kind, tell);
  document.querySelector(".filters").hidden = false;
  filter();
}
