// Filters while one types, and opens what a link points at. Without it the form and the links do the same, slower.
"use strict";

const input = document.getElementById("search");
const count = document.getElementById("count");
const operations = [...document.querySelectorAll("[data-operation]")];

function filter() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const operation of operations) {
    const found = words.every((word) => operation.dataset.operation.includes(word));
    operation.hidden = !found;
    const entry = document.querySelector(`[data-for="${operation.id}"]`);
    if (entry) entry.hidden = !found;
    shown += found ? 1 : 0;
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.hidden = ![...group.querySelectorAll("[data-operation], [data-for]")].some((each) => !each.hidden);
  }
  count.textContent = `${shown} operation${shown === 1 ? "" : "s"}`;
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

// the page may show only what a search found; the script filters what is there
input.addEventListener("input", filter);
window.addEventListener("hashchange", openTarget);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
  }
});
openTarget();
