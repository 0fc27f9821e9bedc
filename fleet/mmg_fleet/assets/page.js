// Asks every two seconds for what has changed, and says so where nobody answers.
import { Rows, ago, degrees, element, milliseconds } from "./rows.js";

const EVERY_MS = 2000;
const REFUSED = {
  401: "This page may no longer look. Open the link with the token that mmg-fleet shows.",
  403: "This page may not look from this address. Open the link that mmg-fleet shows.",
};
const of = (id) => document.getElementById(id);
const rows = new Rows(of("rows"));
let run = "";
let number = 0;
let differing = new Set();
let failures = 0;

function wanted({ row, text }) {
  const words = of("search").value.toLowerCase().split(/\s+/);
  const kind = of("kind").value;
  const is = {
    ill: () => Object.keys(row.ill).length > 0, differing: () => differing.has(row.topic), old: () => row.old,
    odd: () => row.odd !== "", refused: () => row.refused > 0,
  }[kind] ?? (() => !kind || row.word === kind);
  return words.every((word) => text.includes(word)) && is()
    && (!of("board").value || row.board === of("board").value)
    && (!of("bundle").value || `${row.bundle} ${row.digest}` === of("bundle").value);
}

function show() {
  const count = rows.show(wanted);
  of("count").textContent = count === rows.size ? `${count} wearables` : `${count} of ${rows.size} wearables`;
}

function choose(select, values) {
  const chosen = select.value;
  if (values.join("\n") === select.dataset.values) return;
  select.dataset.values = values.join("\n");
  const option = ([value, words]) => Object.assign(element("option", words), { value });
  select.replaceChildren(option(["", "all"]), ...values.map((value) => option([value, value || "not said"])));
  select.value = values.includes(chosen) ? chosen : "";
}

function table(body, lines) {
  body.replaceChildren(...lines.map((cells) => {
    const line = element("tr");
    cells.forEach((words, index) => {
      const cell = line.insertCell();
      cell.append(element("bdi", String(words)));
      if (body.closest("table").tHead.rows[0].cells[index].className) cell.className = "number";
    });
    return line;
  }));
}

function showDiffering(groups, now) {
  differing = new Set(groups.flatMap((one) => Object.keys(one.says)));
  of("differing-section").hidden = groups.length === 0;
  of("differing").replaceChildren(...groups.map((one) => {
    const line = element("li");
    line.append(element("strong", one.group), " for ", element("span", ago(now - one.since)), ": ");
    Object.entries(one.says).forEach(([topic, label], index) => {
      line.append(index ? ", " : "", element("bdi", topic), " says ", element("bdi", label));
    });
    return line;
  }));
}

function take(told) {
  if (told.run !== run) rows.clear();
  ({ run, number } = told);
  rows.take(told.rows);
  showDiffering(told.differing, told.now);
  table(of("boards"), told.boards.map((one) => [
    one.board || "not said", `${one.here} of ${one.all}`, milliseconds(one.p50), milliseconds(one.p95), degrees(one.warm), degrees(one.hottest),
  ]));
  table(of("bundles"), told.bundles.map((one) => [
    one.bundle, one.version ? `${one.version}${one.newest ? ", the newest" : ""}` : "", one.digest, one.count,
  ]));
  choose(of("board"), told.boards.map((one) => one.board).filter(Boolean));
  choose(of("bundle"), told.bundles.filter((one) => one.count).map((one) => `${one.bundle} ${one.digest}`));
  const { heard, refused } = told.totals;
  of("summary").textContent = `${heard.toLocaleString()} messages heard, ${refused.toLocaleString()} refused`;
  of("banner").textContent = told.problem && `Nothing is heard just now: ${told.problem}`;
  of("banner").hidden = !told.problem;
  show();
}

async function ask() {
  try {
    const answer = await fetch(`/fleet.json?after=${number}&run=${run}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(REFUSED[answer.status] ?? `mmg-fleet answers ${answer.status}.`);
    take(await answer.json());
    failures = 0;
    document.documentElement.dataset.ready = "";
  } catch (error) {
    failures += 1;
    of("banner").textContent = error instanceof TypeError ? "mmg-fleet does not answer." : error.message;
    of("banner").hidden = false;
  }
  setTimeout(ask, EVERY_MS * Math.min(1 + failures, 5));
}

for (const id of ["search", "kind", "board", "bundle"]) of(id).addEventListener("input", show);
of("filter").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const sign = rows.sort(button.dataset.key);
    for (const head of document.querySelectorAll("#wearables th")) head.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    show();
  });
}
ask();
