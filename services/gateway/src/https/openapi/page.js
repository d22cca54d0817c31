"use strict";

// Everything from the document goes in as text, never as markup.
const make = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
};

const verbs = ["get", "put", "post", "patch", "delete"];
const schemaName = (reference) => reference.split("/").pop();

/** A schema in a line of text; names of others are links. */
const typeOf = (schema) => {
  const span = make("span");
  if (!schema || Object.keys(schema).length === 0) {
    span.append("any JSON");
  } else if (schema.$ref) {
    const name = schemaName(schema.$ref);
    span.append(make("a", { href: `#schema-${name}` }, name));
  } else if (schema.oneOf ?? schema.anyOf ?? schema.allOf) {
    const parts = schema.oneOf ?? schema.anyOf ?? schema.allOf;
    const shown = parts.filter((part) => part.type !== "null");
    shown.forEach((part, index) => span.append(index ? " or " : "", typeOf(part)));
  } else if (schema.enum) {
    span.append(schema.enum.map((value) => JSON.stringify(value)).join(" | "));
  } else if (schema.type === "array" || schema.type?.includes?.("array") && schema.items) {
    span.append("list of ", typeOf(schema.items));
  } else {
    const types = [schema.type].flat().filter((type) => type && type !== "null");
    span.append(types.join(" or ") || "any JSON");
    if (schema.format) span.append(` (${schema.format})`);
  }
  const bounds = [
    ["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"],
  ].filter(([key]) => schema?.[key] !== undefined).map(([key, sign]) => `${sign} ${schema[key]}`);
  if (bounds.length) span.append(`, ${bounds.join(", ")}`);
  return span;
};

const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell ?? "")));
const table = (heads, rows) =>
  make("table", {}, make("tr", {}, ...heads.map((head) => make("th", {}, head))), ...rows);

const members = (schema) => {
  const required = new Set(schema.required ?? []);
  return table(["member", "holds", ""], Object.entries(schema.properties ?? {}).map(([name, inner]) =>
    row(make("code", {}, name), typeOf(inner),
      [required.has(name) ? "always there. " : "", inner.description ?? ""].join(""))));
};

const bodies = (content) => Object.entries(content ?? {}).map(([type, { schema }]) =>
  make("div", {}, make("code", {}, type), ": ", typeOf(schema)));

const call = (verb, path, operation) => {
  const inside = make("div", {}, make("p", {}, operation.description ?? ""));
  if (operation.parameters?.length) {
    inside.append(make("h3", {}, "Parameters"), table(["name", "in", "holds", ""],
      operation.parameters.map((it) => row(make("code", {}, it.name), it.in, typeOf(it.schema),
        [it.required ? "required. " : "", it.description ?? ""].join("")))));
  }
  if (operation.requestBody) {
    inside.append(make("h3", {}, "Body"), ...bodies(operation.requestBody.content));
  }
  inside.append(make("h3", {}, "Answers"), table(["status", "", "body"],
    Object.entries(operation.responses).map(([status, answer]) => {
      const body = make("div", {}, ...bodies(answer.content));
      for (const [name, header] of Object.entries(answer.headers ?? {})) {
        body.append(make("div", { class: "faint" }, make("code", {}, name), `: ${header.description ?? ""}`));
      }
      return row(status, answer.description, body);
    })));
  const needs = (operation.security ?? []).map((need) => Object.keys(need).join(" and "));
  inside.append(make("p", { class: "faint" }, `Credential: ${needs.join(", or ") || "none"}`));
  return make("details", { id: operation.operationId },
    make("summary", {}, make("span", { class: `verb ${verb}` }, verb.toUpperCase()),
      make("code", {}, path), ` ${operation.summary ?? ""}`), inside);
};

const show = (described) => {
  document.getElementById("title").textContent = `${described.info.title} ${described.info.version}: calls over HTTPS`;
  document.getElementById("about").textContent = described.info.description;
  const groups = new Map((described.tags ?? []).map((tag) => [tag.name, { about: tag.description, calls: [] }]));
  for (const [path, item] of Object.entries(described.paths)) {
    for (const verb of verbs.filter((verb) => item[verb])) {
      const tag = item[verb].tags?.[0] ?? "others";
      if (!groups.has(tag)) groups.set(tag, { about: "", calls: [] });
      groups.get(tag).calls.push({ verb, path, operation: item[verb] });
    }
  }
  const calls = document.getElementById("calls");
  const tags = document.getElementById("tags");
  calls.replaceChildren();
  for (const [name, group] of groups) {
    const section = make("section", { id: `tag-${name}` },
      make("h2", {}, name), make("p", {}, group.about ?? ""));
    for (const { verb, path, operation } of group.calls) section.append(call(verb, path, operation));
    calls.append(section);
    tags.append(make("a", { href: `#tag-${name}` }, name));
  }
  const schemas = document.getElementById("schemas");
  schemas.append(make("h2", {}, "Bodies"));
  for (const [name, schema] of Object.entries(described.components?.schemas ?? {})) {
    schemas.append(make("details", { id: `schema-${name}` }, make("summary", {}, make("code", {}, name)),
      make("div", {}, make("p", {}, schema.description ?? ""),
        schema.properties ? members(schema) : typeOf(schema),
        make("pre", {}, JSON.stringify(schema, null, 2)))));
  }
};

/** Opens what the address names, wherever it is. */
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
  target?.scrollIntoView();
};

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const section of document.querySelectorAll("main section")) {
    let isShown = false;
    for (const details of section.querySelectorAll("details")) {
      details.hidden = !details.textContent.toLowerCase().includes(wanted);
      isShown ||= !details.hidden;
    }
    section.hidden = !isShown;
  }
});
window.addEventListener("hashchange", open);

fetch("/openapi.json").then((answer) => {
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  return answer.json();
}).then((described) => { show(described); open(); }).catch((error) => {
  document.getElementById("calls").textContent = String(error);
});
