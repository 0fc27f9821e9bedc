// Buttons for what this run can do. Where it cannot teach, the command that does.
import { PORT, byId, make, put } from "./words.js";

const SAFE = /^[\w@%+=:,./-]+$/;
const KNOWN = ["imu", "audio", "video"];

export class Controls {
  constructor() {
    Object.assign(this, { isGone: false, isRecording: false, isPaused: false, marking: null });
    byId("mark").addEventListener("submit", (event) => {
      event.preventDefault();
      const label = this.marking === null ? byId("mark-label").value.trim() : null;
      if (this.marking === null && !label) return;
      this.ask("mark", { label }, label === null ? "The mark has ended." : `Marked: ${label}`, () => { this.marking = label; });
    });
    byId("record").addEventListener("click", () => {
      const on = !this.isRecording;
      this.ask("record", { on }, on ? "Recording." : "Recording has stopped.", () => { this.isRecording = on; });
    });
    byId("pause").addEventListener("click", () => {
      const on = !this.isPaused;
      this.ask("pause", { on }, on ? "Paused: no sensor is listened to." : "Going on.", () => { this.isPaused = on; });
    });
    byId("teach").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask("teach", { name: byId("teach-name").value.trim() }, "Get ready.");
    });
  }

  begin({ controls: { mark, record, pause, teach }, sensors, kinds }) {
    Object.assign(this, { isRecording: false, isPaused: false, marking: null });
    this.say("");
    byId("mark").hidden = !mark;
    byId("labels").replaceChildren(...(mark || []).map((label) => Object.assign(make("option"), { value: label })));
    byId("record").hidden = !record;
    byId("pause").hidden = !pause;
    byId("teach").hidden = !teach;
    const command = teach ? [] : commandFor(sensors, kinds);
    byId("teaching").hidden = !command.length;
    byId("command").replaceChildren(...command.flatMap((word) => [make("span", word, "word"), " "]));
    byId("controls").hidden = !(mark || record || pause || teach || command.length);
    this.draw();
  }

  hear({ recording, paused }) {
    Object.assign(this, { isRecording: recording !== null, isPaused: paused, marking: recording?.mark ?? null });
    this.draw();
  }

  taught({ phase, text, example, of }) {
    const count = example ? `example ${example}${of ? ` of ${of}` : ""}: ` : "";
    this.say(`${count}${text || phase}`);
  }

  // isGone: nothing can be asked of a board that is not heard. What has the focus keeps it.
  draw(isGone = this.isGone) {
    this.isGone = isGone;
    const marking = this.marking !== null;
    put(byId("mark").querySelector("button"), marking ? "End mark" : "Mark");
    byId("mark-label").readOnly = marking;
    if (marking && byId("mark-label").value !== this.marking) byId("mark-label").value = this.marking;
    put(byId("record"), this.isRecording ? "Stop recording" : "Record");
    put(byId("pause"), this.isPaused ? "Resume" : "Pause");
    for (const button of byId("controls").querySelectorAll("button")) button.setAttribute("aria-disabled", isGone);
  }

  // Order something; what is said and done once it is so.
  async ask(what, body, words, done = () => {}) {
    if (this.isGone) {
      this.say("The board is not heard: nothing was done.");
      return;
    }
    try {
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(`/do/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
      const told = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(told.error || `the board answers ${answer.status}`);
      done();
      this.say(words);
      this.draw();
    } catch (error) {
      this.say(`Not done: ${error.message}`);
    }
  }

  say(words) { put(byId("said"), words); }
}

// What to type on the board, with this run's sensors where they are ports.
function commandFor(sensors, kinds) {
  const names = Object.keys(sensors);
  if (!names.length || !names.every((name) => PORT.test(sensors[name]))) return [];
  const words = ["mmg-teach", "NAME", "--sensors", names.join(",")];
  for (const name of names) {
    if (KNOWN.includes(name)) words.push(`--${name}`, sensors[name]);
    else words.push("--source", `${name}=${sensors[name]}`);
  }
  if (Object.values(kinds).includes("video")) words.push("--allow-video");
  return words.map((word) => (SAFE.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
}
