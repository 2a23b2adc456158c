"use strict";
// "/" goes to the search box, as in other logs; a click anywhere on a row opens its event.
document.addEventListener("keydown", (event) => {
  const box = document.querySelector("[data-search]");
  const typing = event.target.closest("input, select, textarea");
  if (event.key !== "/" || typing || !box || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  box.focus();
  box.select();
});
document.addEventListener("click", (event) => {
  const row = event.target.closest("table.events tbody tr");
  if (!row || event.target.closest("a") || String(window.getSelection())) return;
  row.querySelector("a").click();
});
