// Elements, words and colours that every part of the page needs. What comes from the board is text, and never markup.
export const UNKNOWN = "unknown";
export const PORT = /^(serial|iio|mic|camera):/;

export const byId = (id) => document.getElementById(id);

// An element with this text; a list of elements as well.
export function make(name, inside = "", className = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...[inside].flat());
  return element;
}

// Touches the page only where something changes: a reader's place in it stays.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const percent = (part) => (part > 0 && part < 0.005 ? "<1%" : `${Math.round(100 * part)}%`);
export const called = (label) => (label === UNKNOWN ? "none of these" : label.replaceAll("_", " "));
export const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
export const clock = (at_s) => new Date(1000 * at_s).toLocaleTimeString([], TIME);

export function lasted(seconds) {
  const whole = Math.round(seconds);
  if (seconds < 0.1) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// A label keeps its colour as long as the run: its place among the labels turns the hue, by the golden angle.
export class Colours {
  constructor(labels) {
    this.places = new Map(labels.map((label, place) => [label, place]));
    this.isDark = matchMedia("(prefers-color-scheme: dark)");
  }

  of(label) {
    if (label === UNKNOWN) return this.isDark.matches ? "#8d96a8" : "#6b7587";
    if (!this.places.has(label)) this.places.set(label, this.places.size);
    const place = this.places.get(label);
    const light = (this.isDark.matches ? [72, 82, 64] : [50, 60, 42])[place % 3];
    return `oklch(${light}% 0.13 ${Math.round(250 + 137.508 * place) % 360})`;
  }
}

// A canvas as wide as its place, in the screen's own pixels: its context, width and height, or null where it is not seen.
export function paperOf(canvas, height) {
  const width = canvas.clientWidth;
  if (!width) return null;
  const scale = Math.min(devicePixelRatio || 1, 3);
  const [wide, tall] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
  canvas.style.height = `${height}px`;
  const paper = canvas.getContext("2d");
  paper.setTransform(scale, 0, 0, scale, 0, 0);
  paper.clearRect(0, 0, width, height);
  return { paper, width, scale };
}

export const colourNamed = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
