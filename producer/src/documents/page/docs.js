// The page of the API: renders /openapi.json. It asks nobody but its own door, and all text goes into the page as text.

import { describeSchema, element, prose, showSchema } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

const failure = document.getElementById("failure");

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    throw new Error(`the door answered ${answer.status}`);
  }
  show(await answer.json());
} catch (error) {
  failure.textContent = `The contract cannot be shown: ${error.message}. Load the page again in a moment.`;
  failure.hidden = false;
}

function show(api) {
  const main = document.getElementById("document");
  const contents = document.getElementById("contents");
  main.append(
    element("h1", {}, `${api.info.title} ${api.info.version}`),
    element("p", { class: "lead" }, api.info.summary),
    ...prose(api.info.description),
  );
  for (const tag of api.tags) {
    const operations = operationsOf(api, tag.name);
    if (operations.length === 0) {
      continue;
    }
    main.append(element("h2", { id: `tag-${tag.name}` }, tag.name), element("p", {}, tag.description));
    contents.append(entry(`#tag-${tag.name}`, tag.name, "tag"));
    for (const operation of operations) {
      main.append(showOperation(operation));
      contents.append(entry(`#${operation.operationId}`, operation.summary));
    }
  }
  main.append(element("h2", { id: "schemas" }, "schemas"));
  contents.append(entry("#schemas", "schemas", "tag"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    main.append(showSchema(name, schema));
    contents.append(entry(`#schema-${name}`, name));
  }
  document.getElementById("columns").hidden = false;
  // The address may name a part that has only just appeared.
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function entry(href, text, kind = "") {
  return element("a", { href, class: kind }, text);
}

function operationsOf(api, tag) {
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })),
  );
  return all.filter((operation) => operation.tags.includes(tag));
}

function showOperation(operation) {
  const article = element("article", { id: operation.operationId, class: "card" });
  article.append(
    element(
      "h3",
      {},
      element("span", { class: `method ${operation.method}` }, operation.method.toUpperCase()),
      " ",
      element("code", {}, operation.path),
    ),
    element("p", { class: "lead" }, operation.summary),
    ...prose(operation.description),
  );
  if (operation.security) {
    const open = operation.security.some((way) => Object.keys(way).length === 0);
    article.append(element("p", {}, open ? "A key is optional." : "Needs a key or a token."));
  }
  if (operation.parameters) {
    article.append(element("h4", {}, "Parameters"), parameters(operation.parameters));
  }
  if (operation.requestBody) {
    article.append(element("h4", {}, "Body"), ...contents(operation.requestBody.content));
  }
  article.append(element("h4", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) {
    article.append(showAnswer(status, answer));
  }
  return article;
}

function parameters(list) {
  const rows = list.map((parameter) => [
    element("code", {}, parameter.name),
    parameter.in + (parameter.required ? ", required" : ""),
    element("span", {}, ...describeSchema(parameter.schema)),
    element("span", {}, ...prose(parameter.description)),
  ]);
  return table(["name", "in", "type", "meaning"], rows);
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function showAnswer(status, answer) {
  const details = element("details", { open: status.startsWith("2") });
  const codes = Object.values(answer.content ?? {}).flatMap((media) => media.schema?.allOf?.[1]?.properties.code.enum ?? []);
  const said = codes.length > 0 ? codes.join(", ") : answer.description.split("\n")[0];
  details.append(element("summary", {}, element("b", {}, status), " ", said));
  if (said !== answer.description) {
    details.append(...prose(answer.description));
  }
  const headers = Object.entries(answer.headers ?? {});
  if (headers.length > 0) {
    const rows = headers.map(([name, header]) => [
      element("code", {}, name),
      header.required ? "always" : "",
      header.description,
    ]);
    details.append(table(["header", "", "meaning"], rows));
  }
  details.append(...contents(answer.content ?? {}));
  return details;
}

function contents(content) {
  return Object.entries(content).flatMap(([type, media]) => {
    const line = element("p", {}, element("code", {}, type), ": ", ...describeSchema(media.schema));
    return [line, ...examplesOf(media).map((example) => element("pre", { tabindex: "0" }, element("code", {}, example)))];
  });
}

function examplesOf(media) {
  const examples = Object.values(media.examples ?? {}).map((example) => example.value);
  if (media.example !== undefined) {
    examples.push(media.example);
  }
  return examples.map((example) => (typeof example === "string" ? example : JSON.stringify(example, null, 2)));
}
