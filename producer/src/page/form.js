// The form: sends the typed values to the door unchanged, and shows the door's errors at their
// fields. The door has the rules; none of them is repeated here.

/** How long the door may take to answer, in milliseconds. It gives up itself before that. */
const PATIENCE = 30_000;

/** Starts the form in `section`; `accepted` is told `{id, name}` of each signup that was taken. */
export function startForm(section, accepted) {
  const find = (id) => section.querySelector(`#${id}`);
  const [form, title, summary, later, send, reveal] =
    ["form", "signup-title", "summary", "later", "send", "reveal"].map(find);
  const fields = [...form.querySelectorAll("[data-wrong]")];
  // One key for one signup, however often it is sent: after a lost answer, nobody signs up twice.
  let attempt = { body: "", key: "" };
  let sending = false;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("input", () => label("Sign up"));
  reveal.addEventListener("click", () => {
    const shown = form.elements.password.type === "password";
    form.elements.password.type = shown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(shown));
  });
  preferLanguage(form.elements.locale);
  send.disabled = false;

  async function submit() {
    if (sending) return;
    const body = JSON.stringify(filled());
    if (body !== attempt.body) attempt = { body, key: newKey() };
    clear();
    busy(true);
    const answer = await post(attempt);
    busy(false);
    if (answer.status === 202) {
      attempt = { body: "", key: "" };
      section.hidden = true;
      accepted({ id: answer.document.id, name: form.elements.name.value.trim() });
    } else if (!answer.status || [408, 429].includes(answer.status) || answer.status >= 500) {
      askToTryAgain(answer);
    } else {
      showErrors(answer.document);
    }
  }

  /** What was filled in; what was left empty is not sent, but for what every signup needs. */
  function filled() {
    const values = [...new FormData(form)];
    return Object.fromEntries(
      values.filter(([name, value]) => value !== "" || form.elements[name].required),
    );
  }

  /** The button keeps the focus while it does nothing. */
  function busy(now) {
    sending = now;
    send.setAttribute("aria-disabled", String(now));
    label(now ? "Sending…" : "Sign up");
  }

  function label(text) {
    if (!sending || text === "Sending…") send.textContent = text;
  }

  function clear() {
    summary.hidden = true;
    later.hidden = true;
    for (const field of fields) {
      field.removeAttribute("aria-invalid");
      error(field).hidden = true;
    }
  }

  function error(field) {
    return find(`${field.id}-error`);
  }

  /** Puts each error at its field and all of them together on top, where the focus goes. */
  function showErrors({ detail, errors = [] }) {
    const list = document.createElement("ul");
    for (const field of fields) {
      if (!errors.some(({ pointer }) => pointer === `/${field.name}`)) continue;
      field.setAttribute("aria-invalid", "true");
      error(field).textContent = field.dataset.wrong;
      error(field).hidden = false;
      const link = element("a", field.dataset.wrong);
      link.href = `#${field.id}`;
      link.addEventListener("click", (event) => {
        event.preventDefault();
        field.focus();
      });
      list.append(item(link));
    }
    const known = fields.map((field) => `/${field.name}`);
    for (const other of errors.filter(({ pointer }) => !known.includes(pointer))) {
      list.append(item(`${other.pointer}: ${other.detail}`));
    }
    if (!list.hasChildNodes()) list.append(item(detail ?? "The signup could not be read."));
    summary.replaceChildren(element("h2", "Something is not right yet"), list);
    summary.hidden = false;
    summary.focus();
  }

  /** Not taken, or not known to be taken. */
  function askToTryAgain({ status, wait, document }) {
    let why = "We cannot say for sure whether your signup arrived.";
    if (!status) why = "We got no answer. Are you online?";
    if (status === 429 || document.code === "overloaded") {
      why = "There is a crowd at the door just now, and your signup did not get in.";
    }
    const when = wait > 1 ? `wait about ${wait} seconds and try again` : "try again";
    later.replaceChildren(
      element("p", `${why} Nothing you typed is lost: please ${when}. It counts once, however often you send it.`),
    );
    later.hidden = false;
    later.scrollIntoView({ block: "nearest" });
    label("Try again");
  }

  return {
    hide() {
      section.hidden = true;
    },
    show() {
      section.hidden = false;
      document.title = "Sign up · Longshore";
      title.focus();
    },
    showEmpty() {
      clear();
      form.reset();
      preferLanguage(form.elements.locale);
      this.show();
    },
  };
}

/** Sends a signup; the answer has no `status` if there was none. */
async function post({ body, key }) {
  try {
    const response = await fetch("/v1/signups", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body,
      signal: AbortSignal.timeout(PATIENCE),
    });
    const document = await response.json();
    return { status: response.status, wait: Number(response.headers.get("Retry-After")), document };
  } catch {
    return { status: 0, wait: 0, document: {} };
  }
}

/** As good as a random UUID, which browsers only make on https. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Chooses the browser's language where it is one of the list. */
function preferLanguage(list) {
  const offered = [...list.options].map(({ value }) => value);
  const wanted = navigator.languages.map((tag) => tag.split("-")[0]);
  list.value = wanted.find((tag) => offered.includes(tag)) ?? "";
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function item(content) {
  const made = document.createElement("li");
  made.append(content);
  return made;
}
