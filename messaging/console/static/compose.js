// Writing a message: what is chosen stays chosen, the mail's body is shown, and UTC is said in local time.
"use strict";

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "choices") return;
  const chosen = document.getElementById("chosen");
  for (const box of event.detail.target.querySelectorAll("input:checked")) chosen.append(box.closest("label"));
});

// The body is a document of its own, asked for by the form, into a fresh frame: an old one would keep a history.
function showBody() {
  const button = document.querySelector("button[data-frame]");
  if (!button) return;
  const frame = document.getElementsByName(button.formTarget)[0];
  frame.replaceWith(frame.cloneNode(false));
  button.form.requestSubmit(button);
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "preview") showBody();
});
document.addEventListener("DOMContentLoaded", showBody);

function sayLocal(input) {
  let said = input.parentElement.querySelector("[data-local]");
  if (!said) {
    said = document.createElement("span");
    said.className = "quiet";
    said.dataset.local = "";
    input.after(said);
  }
  const at = new Date(`${input.value}Z`);
  said.textContent = Number.isNaN(at.getTime()) ? "" : `${at.toLocaleString()} where you are`;
}
document.addEventListener("input", (event) => {
  if (event.target.type !== "datetime-local") return;
  sayLocal(event.target);
  const later = document.querySelector('input[name="when"][value="at"]');
  if (later && event.target.name === "at") later.checked = true;
});
document.addEventListener("DOMContentLoaded", () => {
  for (const input of document.querySelectorAll('input[type="datetime-local"]')) sayLocal(input);
});
