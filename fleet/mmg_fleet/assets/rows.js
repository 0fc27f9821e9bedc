// The table of wearables: each row is drawn when it has changed, and what is searched for is kept beside it.
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86400;

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function ago(seconds) {
  if (seconds < MINUTE_S) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < HOUR_S) return `${Math.round(seconds / MINUTE_S)} min`;
  if (seconds < 2 * DAY_S) return `${Math.round(seconds / HOUR_S)} h`;
  return `${Math.round(seconds / DAY_S)} days`;
}

// The time of day, and the day where it is not today.
function when(seconds) {
  const then = new Date(1000 * seconds);
  const time = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return then.toDateString() === new Date().toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}

export const milliseconds = (value) => (value === null ? "" : `${value} ms`);
export const degrees = (value) => (value === null ? "" : `${value} °C`);

const text = (row) =>
  [row.topic, row.word, row.label, row.bundle, row.digest, row.board, row.notice, row.odd, ...Object.entries(row.ill).flat()].join("\n").toLowerCase();

function cell(line, words, small = "", className = "") {
  const made = line.insertCell();
  const shown = element("bdi", words, className);
  made.append(shown);
  if (small) made.append(element("small", small));
  return made;
}

function draw(line, row) {
  line.replaceChildren();
  line.dataset.word = row.word;
  const topic = cell(line, row.topic, row.notice);
  if (row.profile) {
    const link = element("a", "profile");
    link.href = `/profile.json?topic=${encodeURIComponent(row.topic)}`;
    const small = element("small");
    small.append(link);
    topic.append(small);
  }
  cell(line, row.word, row.heard ? `heard ${when(row.heard)}` : "", "word");
  const isGone = row.word === "offline" || row.word === "silent";
  if (isGone && row.label !== null) cell(line, `did ${row.label}`);
  else cell(line, row.label ?? "–", row.label === null ? "" : `since ${when(row.since)}`);
  const ill = line.insertCell();
  for (const [name, said] of Object.entries(row.ill)) ill.append(element("bdi", `${name} ${said}`, "ill"));
  const version = row.version ? ` ${row.version}` : "";
  const bundle = cell(line, `${row.bundle}${version}`, row.digest, row.old ? "old" : "");
  if (row.old) bundle.append(element("small", "there is a newer one", "old"));
  if (row.odd) bundle.append(element("small", row.odd, "odd"));
  cell(line, row.board);
  cell(line, milliseconds(row.latency)).className = "number";
  cell(line, degrees(row.temperature), row.refused ? `${row.refused} refused` : "").className = "number";
}

const KEYS = { ill: (row) => -Object.keys(row.ill).length, bundle: (row) => `${row.bundle} ${String(row.version).padStart(16, "0")}` };

function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  return typeof one === "string" ? one.localeCompare(other) : one - other;
}

export class Rows {
  constructor(body) {
    Object.assign(this, { body, lines: new Map(), key: "topic", sign: 1 });
  }

  get size() { return this.lines.size; }

  clear() {
    this.lines.clear();
    this.body.replaceChildren();
  }

  take(rows) {
    for (const row of rows) {
      const known = this.lines.get(row.topic) ?? { line: element("tr") };
      Object.assign(known, { row, text: text(row) });
      draw(known.line, row);
      this.lines.set(row.topic, known);
    }
  }

  sort(key) {
    this.sign = key === this.key ? -this.sign : 1;
    this.key = key;
    return this.sign;
  }

  // Lay out those that are wanted, and return how many. A line that stands where it stood is not touched.
  show(wanted) {
    const value = KEYS[this.key] ?? ((row) => row[this.key]);
    const shown = [...this.lines.values()].filter(wanted);
    shown.sort((a, b) => this.sign * compare(value(a.row), value(b.row)) || compare(a.row.topic, b.row.topic));
    let place = this.body.firstChild;
    for (const { line } of shown) {
      if (line === place) place = place.nextSibling;
      else this.body.insertBefore(line, place);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    return shown.length;
  }
}
