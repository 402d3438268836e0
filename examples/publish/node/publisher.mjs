#!/usr/bin/env node
/**
 * Publishes events at the HTTP door of Longshore. Needs Node 18.3 and nothing else: copy this file.
 *
 *     import { Publisher } from "./publisher.mjs";
 *
 *     const publisher = new Publisher("https://events.example.com", process.env.PUBLISH_KEY);
 *     const { id, status_url } = await publisher.signup({ email: "ada@example.com", name: "Ada Lovelace" });
 *
 * A call resolves once the event is safe, and is rejected with one of three errors otherwise:
 *
 *     Refused           the door does not take this request: mend it
 *     UnexpectedAnswer  the answer is not one of Longshore's door: check the address
 *     Undecided         not known to be accepted by the deadline: send the same again later, with the same key or id
 *
 * As a program it publishes one event: `publisher.mjs --help`.
 */

import { randomUUID } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** Any error below. */
export class PublishError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/**
 * The door has refused the request, and nothing of it is published. `code` is stable, for programs. `errors` lists every
 * wrong field: `{ pointer, detail }`.
 */
export class Refused extends PublishError {
  constructor(status, code, detail, errors) {
    const fields = errors.map((error) => `; ${error.pointer}: ${error.detail}`).join("");
    super(`refused with ${status} ${code}: ${detail}${fields}`);
    Object.assign(this, { status, code, detail, errors });
  }
}

/** An answer that Longshore's door does not give, such as a redirect. Redirects are not followed. */
export class UnexpectedAnswer extends PublishError {
  constructor(status, detail) {
    super(`expected 202 from the door, found ${status}: ${detail}`);
    this.status = status;
  }
}

/**
 * Not known to be accepted by the deadline. To repeat the call safely, give `idempotencyKey` to it, or for CloudEvents
 * the list `events`, which has their ids.
 */
export class Undecided extends PublishError {
  constructor(attempts, last, idempotencyKey, events) {
    super(`not known to be accepted after ${attempts} attempts; the last one: ${last}`);
    Object.assign(this, { attempts, last, idempotencyKey, events });
  }
}

/** Publishes at one door. */
export class Publisher {
  #base;
  #headers;
  #options;

  /**
   * @param {string} baseUrl address of the door, such as https://events.example.com
   * @param {string} [key] API key or token, where the door asks for one
   * @param {object} [options] all in milliseconds
   * @param {number} [options.deadline] how long a call may take, all its attempts and waits included
   * @param {number} [options.timeout] how long one attempt may take
   * @param {number} [options.firstWait] the wait before the second attempt, where the door does not say. Each further
   *   one is twice as long
   * @param {number} [options.longestWait] maximum of these waits. The door's own `Retry-After` is kept as far as the
   *   deadline reaches
   */
  constructor(baseUrl, key, options = {}) {
    const url = parsed(() => new URL(baseUrl));
    if (!/^https?:$/.test(url?.protocol) || url.username || url.search || url.hash) {
      throw new TypeError("expected baseUrl like https://events.example.com, without a login or a query");
    }
    this.#base = baseUrl.replace(/\/+$/, "");
    this.#headers = key == null ? {} : { Authorization: `Bearer ${visible(key, "key")}` };
    this.#options = { deadline: 60_000, timeout: 10_000, firstWait: 500, longestWait: 20_000, ...options };
    for (const [name, value] of Object.entries(this.#options)) {
      if (!(value > 0)) throw new TypeError(`expected ${name} in milliseconds, more than 0`);
    }
  }

  /** Publishes a signup: `{ email, name }` and the optional fields. */
  signup(data, idempotencyKey) {
    return this.#once("/v1/signups", data, idempotencyKey);
  }

  /** Publishes a request to process something. */
  processing(task, payload, idempotencyKey) {
    return this.#once("/v1/processing", { task, payload }, idempotencyKey);
  }

  /** Publishes a CloudEvent of any known type. `type` and `source` are needed; `id` is made where it is absent. */
  async event(event) {
    const whole = cloudEvent(event);
    return this.#accepted(await this.#send("/v1/events", "application/cloudevents+json", whole, undefined, [whole]));
  }

  /** Publishes a batch of CloudEvents, all or none. The result has their order. */
  async events(events) {
    const whole = events.map(cloudEvent);
    const answer = await this.#send("/v1/events", "application/cloudevents-batch+json", whole, undefined, whole);
    if (!Array.isArray(answer?.accepted)) throw new UnexpectedAnswer(202, "the answer has no list of accepted events");
    return answer.accepted.map((one) => this.#accepted(one));
  }

  async #once(path, data, idempotencyKey = randomUUID()) {
    visible(idempotencyKey, "idempotencyKey");
    return this.#accepted(await this.#send(path, "application/json", data, idempotencyKey));
  }

  #accepted(answer) {
    const { id, type, status_url } = answer ?? {};
    if (!id || !type || !status_url) throw new UnexpectedAnswer(202, "the answer has no id, type and status_url");
    return { id, type, status_url: this.#base + status_url };
  }

  /** Sends the same text, with the same key, until the door has decided. */
  async #send(path, mediaType, document, idempotencyKey, events) {
    const headers = { ...this.#headers, "Content-Type": mediaType, Accept: "application/json" };
    if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
    const body = JSON.stringify(document);
    const { deadline, timeout } = this.#options;
    const end = performance.now() + deadline;
    for (let attempts = 1; ; attempts += 1) {
      const left = Math.max(Math.ceil(end - performance.now()), 1);
      const answer = await attempt(this.#base + path, headers, body, Math.min(timeout, left));
      if (answer.status && answer.status < 500 && answer.status !== 408 && answer.status !== 429) {
        return decision(answer);
      }
      const wait = this.#wait(attempts, answer.headers);
      if (performance.now() + wait >= end) throw new Undecided(attempts, outcome(answer), idempotencyKey, events);
      await sleep(wait);
    }
  }

  /** As long as `Retry-After` says, else exponentially. A part is random, so that callers do not come all at once. */
  #wait(attempts, headers) {
    const { firstWait, longestWait } = this.#options;
    const asked = headers && retryAfter(headers);
    if (asked != null) return Math.max(asked, firstWait) + Math.random() * firstWait;
    const wait = Math.min(firstWait * 2 ** (attempts - 1), longestWait);
    return wait / 2 + (Math.random() * wait) / 2;
  }
}

/** One request: its status, headers and text; without a status, why there is no answer. */
async function attempt(url, headers, body, timeout) {
  // Followed redirects would carry the key to another host.
  const request = { method: "POST", headers, body, redirect: "manual", signal: AbortSignal.timeout(timeout) };
  try {
    const answer = await fetch(url, request);
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  } catch (error) {
    return { missing: error.cause?.message || error.cause?.code || error.message };
  }
}

/** An answer that decides nothing, in words. */
function outcome({ status, text, missing }) {
  return status ? `${status} ${problem(text).code ?? ""}`.trimEnd() : `no answer (${missing})`;
}

/** Only visible ASCII fits into a header. The error does not repeat the text, which may be a secret. */
function visible(text, name) {
  if (!/^[!-~]+$/.test(text) || typeof text !== "string") {
    throw new TypeError(`expected ${name} of visible ASCII characters alone`);
  }
  return text;
}

function cloudEvent(event) {
  const whole = { specversion: "1.0", id: randomUUID(), ...event };
  for (const name of ["type", "source"]) {
    if (!whole[name]) throw new TypeError(`a CloudEvent needs "${name}"`);
  }
  return whole;
}

function parsed(parse) {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** The problem document (RFC 9457) of an answer; empty for anything else. */
function problem(text) {
  const document = parsed(() => JSON.parse(text)) ?? null;
  return document !== null && typeof document === "object" ? document : {};
}

function decision({ status, text }) {
  if (status === 202) return parsed(() => JSON.parse(text));
  if (status < 400) {
    throw new UnexpectedAnswer(status, status >= 300 ? "a redirect" : "not an answer of Longshore's door");
  }
  const { code = "unknown", detail = "without a problem document", errors } = problem(text);
  const fields = Array.isArray(errors) ? errors.filter((error) => error !== null && typeof error === "object") : [];
  throw new Refused(status, code, detail, fields);
}

/** The milliseconds that an answer asks to wait, from a number or a date; undefined without either. */
function retryAfter(headers) {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^[0-9]{1,9}$/.test(value)) return 1000 * Number(value);
  const until = date(value);
  // By the door's clock, which may differ from ours.
  return until === undefined ? undefined : Math.max(until - (date(headers.get("Date")) ?? Date.now()), 0);
}

/** A date of HTTP in milliseconds. JavaScript takes many other texts for dates. */
function date(value) {
  const time = /^[A-Z][a-z]+, .* GMT$/.test(value ?? "") ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

const USAGE = `Usage: publisher.mjs signup|processing|event [JSON] [--url URL] [--idempotency-key KEY] [--deadline SECONDS]

Publishes one event, or a list of CloudEvents, at Longshore's door. Without JSON, standard input is read.

  --url URL               address of the door (http://127.0.0.1:8080)
  --idempotency-key KEY   for signup and processing; made where it is absent
  --deadline SECONDS      for all attempts (60)

The variable PUBLISH_KEY has the key, where the door asks for one.
Exit codes: 0 accepted, 1 refused, 2 usage, 3 undecided.`;

function publish(publisher, kind, document, idempotencyKey) {
  if (kind === "signup") return publisher.signup(document, idempotencyKey);
  if (kind === "processing") return publisher.processing(document.task, document.payload, idempotencyKey);
  return Array.isArray(document) ? publisher.events(document) : publisher.event(document);
}

/** Publishes the event that the command line names; the exit code. */
async function main() {
  const text = (value) => ({ type: "string", default: value });
  const options = {
    url: text("http://127.0.0.1:8080"),
    "idempotency-key": { type: "string" },
    deadline: text("60"),
    help: { type: "boolean" },
  };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const [kind, json, ...more] = positionals;
    if (values.help) {
      console.log(USAGE);
      return 0;
    }
    if (!["signup", "processing", "event"].includes(kind) || more.length > 0) throw new TypeError(USAGE);
    const document = JSON.parse(json ?? readFileSync(0, "utf8"));
    const publisher = new Publisher(values.url, process.env.PUBLISH_KEY, { deadline: 1000 * Number(values.deadline) });
    const accepted = await publish(publisher, kind, document, values["idempotency-key"]);
    for (const one of [accepted].flat()) console.log(JSON.stringify(one));
    return 0;
  } catch (error) {
    console.error(error.message);
    if (error instanceof Undecided) {
      const { idempotencyKey, events } = error;
      console.error(
        idempotencyKey
          ? `to repeat it safely: --idempotency-key ${idempotencyKey}`
          : `to repeat it safely, send: ${JSON.stringify(events)}`,
      );
      return 3;
    }
    return error instanceof PublishError ? 1 : 2;
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = await main();
}
