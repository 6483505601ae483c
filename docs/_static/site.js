// Search by number and filters of the atlas's index, and buttons that copy. Pages are whole without it.
"use strict";

// A typed number, and the interval of those that print as its digits, rounded or cut off; null of other words.
function typed(text) {
  const found = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.exec(text);
  if (!found) return null;
  const places = (found[1].split(".")[1] || "").length;
  const unit = Math.pow(10, Number((found[2] || "e0").slice(1)) - places);
  const size = Math.abs(Number(text));
  const slack = 1e-9 * unit; // decimal digits are no binary ones
  return { negative: text.startsWith("-"), low: size - unit / 2 - slack, high: size + unit - slack };
}

function shows(number, wanted) {
  const value = Number(number);
  if (Number.isNaN(value) || (value < 0) !== (wanted.negative && value !== 0)) return false;
  return wanted.low <= Math.abs(value) && Math.abs(value) < wanted.high;
}

function matches(item, word) {
  const numbers = (item.dataset.numbers || "").split(" ");
  const wanted = typed(word);
  if (wanted) return numbers.some((number) => shows(number, wanted));
  return numbers.includes(word) || item.dataset.words.includes(word);
}

function atlas(form) {
  const items = [...document.querySelectorAll(".atlas li")];
  const sections = [...document.querySelectorAll(".atlas")];
  const box = form.elements.q;
  const filters = [...form.querySelectorAll("select")];
  const count = document.getElementById("atlas-count");

  const constants = document.getElementById("number-1").closest(".atlas");

  function show() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const fits = filters.every((f) => !f.value || (item.dataset[f.name] || "").split(" ").includes(f.value));
      item.hidden = !(fits && words.every((word) => matches(item, word)));
    }
    // A number is first of all what 'xent identify' knows.
    if (words.some(typed)) sections[0].before(constants);
    else sections[sections.length - 1].after(constants);
    for (const section of sections) section.hidden = !section.querySelector("li:not([hidden])");
    const shown = items.filter((item) => !item.hidden).length;
    const more = shown || !words.some(typed) ? "" : `: 'xent identify ${words.join(" ")}' knows more numbers`;
    count.textContent = shown === items.length ? `${shown} entries` : `${shown} of ${items.length} entries${more}`;
  }

  function first() {
    const link = document.querySelector(".atlas li:not([hidden]) a");
    if (link) link.focus();
  }

  const query = new URLSearchParams(location.search).get("q") || "";
  box.value = query;
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
    first();
  });
  show();
  if (query) first();
}

function copyButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const text = block.querySelector("pre").textContent;
    const commands = text.split("\n").filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
    await navigator.clipboard.writeText(commands.length ? commands.join("\n") : text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.prepend(button);
}

// What scrolls sideways takes the focus, so that the keyboard can scroll it.
function reachable(box) {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}

for (const block of document.querySelectorAll("article .highlight")) copyButton(block);
for (const box of document.querySelectorAll("article pre, article .table-wrapper")) reachable(box);
const form = document.getElementById("atlas");
if (form) atlas(form);
