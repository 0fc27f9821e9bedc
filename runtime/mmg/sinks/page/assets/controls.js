// Buttons for what this run can do, and the command that teaches.
import { PORT, byId, make, put } from "./words.js";

const SAFE = /^[\w@%+=:,./-]+$/;
const KNOWN = ["imu", "audio", "video"];

export class Controls {
  constructor() {
    this.isGone = false;
    this.vitals = null;
    byId("mark").addEventListener("submit", (event) => {
      event.preventDefault();
      const label = this.marking === null ? byId("mark-label").value.trim() : null;
      if (this.marking !== null || label) this.ask("mark", { label }, () => { this.recording.mark = label; });
    });
    byId("record").addEventListener("click", () => this.ask("record", { on: !this.vitals?.recording }));
    byId("pause").addEventListener("click", () => this.ask("pause", { on: !this.isPaused }, (on) => { this.vitals.paused = on; }));
  }

  get recording() { return this.vitals?.recording ?? {}; }
  get marking() { return this.recording.mark ?? null; }
  get isPaused() { return this.vitals?.paused ?? false; }

  begin({ controls = {}, sensors }) {
    this.controls = controls;
    this.vitals = null;
    this.say("");
    const { mark, record, pause } = controls;
    byId("mark").hidden = !mark;
    byId("labels").replaceChildren(...(mark || []).map((label) => Object.assign(make("option"), { value: label })));
    byId("record").hidden = !record;
    byId("pause").hidden = !pause;
    const command = commandFor(sensors);
    byId("teaching").hidden = !command.length;
    byId("command").replaceChildren(...command.flatMap((word) => [make("span", word, "word"), " "]));
    byId("controls").hidden = !(mark || record || pause || command.length);
    this.draw();
  }

  hear(vitals) {
    this.vitals = vitals;
    this.draw();
  }

  // isGone: nothing can be asked of a board that is not heard. What has the focus keeps it.
  draw(isGone = this.isGone) {
    this.isGone = isGone;
    const marking = this.marking !== null;
    put(byId("mark").querySelector("button"), marking ? "End mark" : "Mark");
    byId("mark-label").readOnly = marking;
    if (marking && byId("mark-label").value !== this.marking) byId("mark-label").value = this.marking;
    put(byId("record"), this.vitals?.recording ? "Stop recording" : "Record");
    put(byId("pause"), this.isPaused ? "Resume" : "Pause");
    for (const button of byId("controls").querySelectorAll("button")) button.setAttribute("aria-disabled", isGone);
  }

  async ask(what, body, done = () => {}) {
    if (this.isGone) {
      this.say("The board is not heard: nothing was done.");
      return;
    }
    try {
      const answer = await fetch(`/do/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      const told = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(told.error || `the board answers ${answer.status}`);
      if (this.vitals) done(body.on);
      this.say({ mark: body.label ? `Marked: ${body.label}` : "The mark has ended.", record: body.on ? "Recording." : "Recording has stopped.", pause: body.on ? "Paused: no sensor is listened to." : "Going on." }[what]);
      this.draw();
    } catch (error) {
      this.say(`Not done: ${error.message}`);
    }
  }

  say(words) { put(byId("said"), words); }
}

// What to type on the board, with this run's sensors where they are ports.
function commandFor(sensors) {
  const names = Object.keys(sensors);
  if (!names.length || !names.every((name) => PORT.test(sensors[name]))) return [];
  const words = ["mmg-teach", "NAME", "--sensors", names.join(",")];
  for (const name of names) words.push(...(KNOWN.includes(name) ? [`--${name}`, sensors[name]] : ["--source", `${name}=${sensors[name]}`]));
  return words.map((word) => (SAFE.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
}
