// The way of one signup, step by step, as `/v1/events/{id}/live` tells it.

import { stepsOf, verdictOf } from "./steps.js";

/** The first and the longest wait before connecting again, when the browser itself has given up. */
const WAITS = [2_000, 60_000];
/** After how long without news it is said that it takes long. */
const LONG = 6_000;

const MARKS = { done: "✓", bad: "!", busy: "", todo: "" };
const SPOKEN_MARKS = { done: "Done: ", bad: "Problem: ", busy: "Under way: ", todo: "To come: " };

/** Starts the view in `section`; `change` and `another` are called when a person wants that. */
export function startProgress(section, { change, another }) {
  const find = (id) => document.getElementById(id);
  const [title, verdict, list, note, reference, spoken] =
    ["progress-title", "verdict", "steps", "note", "reference", "spoken"].map(find);
  let source = null;
  let timer = 0;
  let wait = WAITS[0];
  // The announced state of each step.
  let said = new Map();
  // Of the person who signed up on this page just now: the typed values can be changed and sent
  // again.
  let name = "";

  find("change").addEventListener("click", change);
  find("another").addEventListener("click", another);

  function stop() {
    source?.close();
    source = null;
    clearTimeout(timer);
  }

  function listen(id) {
    stop();
    source = new EventSource(`/v1/events/${id}/live`);
    let ended = false;
    source.addEventListener("open", () => (wait = WAITS[0]));
    source.addEventListener("status", ({ data }) => {
      clearTimeout(timer);
      remark("");
      draw(JSON.parse(data));
    });
    source.addEventListener("waiting", ({ data }) => {
      clearTimeout(timer);
      if (JSON.parse(data).for === "database") {
        remark("The database does not answer at the moment. Your signup is safe; it goes on by itself as soon as it can.");
      } else {
        remark("");
        timer = setTimeout(
          () => remark("This takes longer than usual. Your signup is safe; you may leave this page open, or come back later."),
          LONG,
        );
      }
    });
    source.addEventListener("end", ({ data }) => {
      ended = true;
      if (JSON.parse(data).reason === "at_rest") stop();
    });
    source.addEventListener("error", () => {
      // A stream that ends with its reason is not broken, and the browser comes back by itself.
      if (!ended) remark("The connection broke. Your signup goes on; looking again in a moment.");
      ended = false;
      if (source?.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(() => listen(id), wait);
      wait = Math.min(wait * 2, WAITS[1]);
    });
  }

  /** A remark beside the steps; empty to take it back. */
  function remark(text) {
    if (text && note.textContent !== text) speak(text);
    note.textContent = text;
    note.hidden = text === "";
  }

  function draw(status) {
    const steps = stepsOf(status);
    const first = steps[0].at;
    list.replaceChildren(...steps.map((step) => line(step, first)));
    for (const { title: words, text, state } of steps) {
      if (!["done", "bad"].includes(state) || said.get(words) === state) continue;
      said.set(words, state);
      speak(`${words}. ${text}`);
    }
    const { greeting, text, end } = verdictOf(status);
    if (end && verdict.textContent !== text) speak(text);
    title.textContent = name ? `${greeting}, ${name}` : "Your signup";
    verdict.textContent = text;
    verdict.className = `lead ${end}`;
    find("change").hidden = status?.status !== "rejected" || !name;
  }

  function speak(text) {
    const words = document.createElement("p");
    words.textContent = text;
    spoken.append(words);
  }

  return {
    hidden: () => section.hidden,
    hide() {
      stop();
      section.hidden = true;
    },
    show(signup) {
      said = new Map();
      spoken.replaceChildren();
      remark("");
      name = signup.name ?? "";
      document.title = "Your signup · Longshore";
      reference.textContent = signup.id;
      section.hidden = false;
      // Behind a 202 the first step is done. The stream brings the others.
      draw(name ? { status: "accepted", timeline: [], deliveries: [] } : null);
      title.focus();
      listen(signup.id);
    },
  };
}

/** One step as a list item. */
function line({ state, title, text, at }, first) {
  const item = document.createElement("li");
  item.className = state;
  const mark = make("span", "mark", MARKS[state]);
  mark.setAttribute("aria-hidden", "true");
  const head = make("p", "step", "");
  const words = document.createElement("strong");
  words.append(make("span", "unseen", SPOKEN_MARKS[state]), title);
  head.append(words);
  if (at) head.append(moment(at, first));
  item.append(mark, head);
  if (text) item.append(make("p", "", text));
  return item;
}

/** The time of day, or how long after the first step where that is short. */
function moment(at, first) {
  const clock = new Date(at).toLocaleTimeString();
  const after = (Date.parse(at) - Date.parse(first)) / 1000;
  const soon = after > 0 && after < 100;
  const time = make("time", "", soon ? `${after.toFixed(after < 10 ? 2 : 0)} s later` : clock);
  time.dateTime = at;
  time.title = clock;
  return time;
}

function make(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}
