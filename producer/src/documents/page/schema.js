// Schemas and texts as parts of the page.

/** An element with attributes and children. Texts stay texts. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) {
      made.setAttribute(key, "");
    } else if (value) {
      made.setAttribute(key, value);
    }
  }
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

/** A text of the contract: paragraphs, lists, `code` and links of Markdown. */
export function prose(text = "") {
  return text
    .split(/\n\n|\n(?=- )/)
    .filter((part) => part !== "")
    .map((part) =>
      part.startsWith("- ") ? element("p", { class: "item" }, ...inline(part.slice(2))) : element("p", {}, ...inline(part)),
    );
}

function inline(text) {
  return text.split(/(\[[^\]]+\]\(\/[^)]*\)|`[^`]+`)/).map((part) => {
    const link = /^\[`?([^\]`]+)`?\]\((\/[^)]*)\)$/.exec(part);
    if (link) {
      return element("a", { href: link[2] }, link[1]);
    }
    return part.startsWith("`") ? element("code", {}, part.slice(1, -1)) : part;
  });
}

/** A link to a schema, from a reference to it. */
function schemaLink(reference) {
  const name = reference.split("/").pop();
  const href = reference.startsWith("#") ? `#schema-${name}` : reference;
  return element("a", { href }, name);
}

/** A schema in a few words. */
export function describeSchema(schema) {
  if (schema === true || schema === undefined || Object.keys(schema).length === 0) {
    return ["any JSON"];
  }
  if (schema.$ref) {
    return [schemaLink(schema.$ref)];
  }
  if (schema.const !== undefined) {
    return [element("code", {}, JSON.stringify(schema.const))];
  }
  for (const [key, word] of [["oneOf", " or "], ["anyOf", " or "], ["allOf", ", "]]) {
    if (schema[key]) {
      const parts = schema[key].filter((part) => part.$ref || part.type || part.const !== undefined);
      return parts.flatMap((part, index) => (index > 0 ? [word, ...describeSchema(part)] : describeSchema(part)));
    }
  }
  if (schema.type === "array") {
    return ["list of ", ...describeSchema(schema.items)];
  }
  return [[[schema.type ?? "any"].flat().join(" or "), ...bounds(schema)].join(", ")];
}

function bounds(schema) {
  const said = [];
  if (schema.format) {
    said.push(schema.format);
  }
  if (schema.maxLength) {
    said.push(`${schema.minLength ?? 0} to ${schema.maxLength} characters`);
  }
  if (schema.enum) {
    said.push(schema.enum.join(" | "));
  }
  // A long one says nothing to a person; openapi.json has it.
  if (schema.pattern?.length < 40) {
    said.push(schema.pattern);
  }
  return said;
}

/** A named schema, with its fields. */
export function showSchema(name, schema) {
  const article = element("article", { id: `schema-${name}`, class: "card" });
  article.append(element("h3", {}, element("code", {}, name)), ...prose(schema.description));
  if (!schema.properties) {
    article.append(element("p", {}, ...describeSchema(schema)));
    return article;
  }
  const rows = Object.entries(schema.properties).map(([field, of]) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, field), schema.required?.includes(field) ? "" : " (optional)"),
      element("td", {}, ...describeSchema(of)),
      element("td", {}, ...prose(of.description)),
    ),
  );
  article.append(element("div", { class: "wide" }, element("table", {}, element("tbody", {}, ...rows))));
  return article;
}
