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
  const link = event.target.closest("tbody tr")?.querySelector("td.time a");
  if (!link || event.target.closest("a") || String(window.getSelection())) return;
  link.click();
});
