"use strict";
// Sorts and filters by the address, such as #sort=-p95&filter=onnx,int8: what is shown can be sent as a link.
const root = document.documentElement;
addEventListener("error", (event) => { root.dataset.error = event.message; });

const rows = [...document.querySelectorAll("tr[data-tags]")];
const tagged = [...document.querySelectorAll("[data-tags]")];
const heads = [...document.querySelectorAll("#cases th[data-key]")];
const buttons = [...document.querySelectorAll(".controls button")];

function wanted() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const known = new Set(buttons.map((button) => button.dataset.token));
  const sort = asked.get("sort") ?? "";
  const key = sort.replace(/^-/, "");
  return {
    key: heads.some((head) => head.dataset.key === key) ? key : "",
    falling: sort.startsWith("-"),
    filter: (asked.get("filter") ?? "").split(",").filter((token) => token && known.has(token)),
  };
}

function go(state) {
  const parts = [];
  if (state.key) parts.push(`sort=${state.falling ? "-" : ""}${encodeURIComponent(state.key)}`);
  if (state.filter.length) parts.push(`filter=${state.filter.map(encodeURIComponent).join(",")}`);
  history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname + location.search);
  show();
}

function showFilter(filter) {
  const matches = (element) => {
    const tags = element.dataset.tags.split(" ");
    return filter.every((token) => tags.includes(token));
  };
  for (const element of tagged) {
    if (element.classList.contains("mark")) element.classList.toggle("off", !matches(element));
    else element.hidden = !matches(element);
  }
  for (const button of buttons) {
    const { group, token } = button.dataset;
    const chosen = buttons.some((one) => one.dataset.group === group && one.dataset.token && filter.includes(one.dataset.token));
    button.setAttribute("aria-pressed", String(token ? filter.includes(token) : !chosen));
  }
  const cases = rows.filter((row) => row.closest("#cases"));
  const count = document.querySelector(".count");
  if (count) count.textContent = `${cases.filter((row) => !row.hidden).length} of ${cases.length} cases`;
}

function showOrder(key, falling) {
  const column = heads.findIndex((head) => head.dataset.key === key);
  heads.forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  const body = document.querySelector("#cases tbody");
  if (!body) return;
  const value = (row) => row.cells[column]?.dataset.value ?? "";
  const compare = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");  // what is not known stays last, either way
    const order = heads[column].classList.contains("word") ? a.localeCompare(b) : Number(a) - Number(b);
    return falling ? -order : order;
  };
  const original = [...body.rows].sort((one, other) => one.dataset.place - other.dataset.place);
  body.append(...(column < 0 ? original : original.sort(compare)));
}

function show() {
  const state = wanted();
  showFilter(state.filter);
  showOrder(state.key, state.falling);
}

for (const head of heads) {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const state = wanted();
    const { key } = head.dataset;
    // Up, down, and back to the order of the report.
    if (state.key !== key) go({ ...state, key, falling: false });
    else go(state.falling ? { ...state, key: "", falling: false } : { ...state, falling: true });
  });
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    const state = wanted();
    const { group, token } = button.dataset;
    const others = buttons.filter((one) => one.dataset.group === group).map((one) => one.dataset.token);
    const filter = state.filter.filter((one) => !others.includes(one));
    go({ ...state, filter: token ? [...filter, token] : filter });
  });
}
for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
addEventListener("hashchange", show);
show();
root.dataset.ready = "";
