// Writes .generated/api.ts: a type for each schema of docs/openapi.json. `npm run check` does it first, so
// that the pages are held to what the server says of itself. Types do not outlive the check: a build of
// the pages needs none.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const root = import.meta.dirname;
const { components } = JSON.parse(readFileSync(`${root}/../docs/openapi.json`, "utf8"));

const words = (schema, indent) => (schema.description ? `${indent}/** ${schema.description.replaceAll("*/", "* /").replaceAll(/\s+/g, " ")} */\n` : "");
const literal = (value) => JSON.stringify(value);
const joined = (types, sign) => [...new Set(types)].join(` ${sign} `) || "unknown";
const group = (type) => (/ [|&] /.test(type) ? `(${type})` : type);

/** What values of a schema look like, in TypeScript. */
function typeOf(schema, indent = "") {
  if (schema === true || schema === undefined) return "unknown";
  if (schema.$ref) return beside(schema.$ref.split("/").at(-1), schema, indent);
  if (schema.const !== undefined) return literal(schema.const);
  if (schema.enum) return joined(schema.enum.map(literal), "|");
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return beside(group(joined(choices.map((one) => group(typeOf(one, indent))), "|")), schema, indent);
  if (schema.allOf) return joined(schema.allOf.map((one) => group(typeOf(one, indent))), "&");
  if (Array.isArray(schema.type)) return joined(schema.type.map((type) => typeOf({ ...schema, type }, indent)), "|");
  switch (schema.type) {
    case "string": return "string";
    case "integer": case "number": return "number";
    case "boolean": return "boolean";
    case "null": return "null";
    case "array": return schema.prefixItems ? `[${schema.prefixItems.map((one) => typeOf(one, indent)).join(", ")}]` : `${group(typeOf(schema.items, indent))}[]`;
    case "object": return objectOf(schema, indent);
    default: return schema.properties ? objectOf(schema, indent) : "unknown";
  }
}

/** What stands beside a reference or a choice belongs to the value, too. */
function beside(type, schema, indent) {
  return schema.properties ? `${type} & ${objectOf(schema, indent)}` : type;
}

function objectOf(schema, indent) {
  const deeper = `${indent}  `;
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const optional = schema.required?.includes(name) ? "" : "?";
    return `${words(field, deeper)}${deeper}${/^\w+$/.test(name) ? name : literal(name)}${optional}: ${typeOf(field, deeper)};\n`;
  });
  const more = schema.additionalProperties;
  if (fields.length === 0) return `Record<string, ${typeof more === "object" ? typeOf(more, indent) : "unknown"}>`;
  return `{\n${fields.join("")}${indent}}`;
}

const types = Object.entries(components.schemas).map(([name, schema]) => `${words(schema, "")}export type ${name} = ${typeOf(schema)};\n`);
mkdirSync(`${root}/.generated`, { recursive: true });
writeFileSync(`${root}/.generated/api.ts`, `// Made from docs/openapi.json by ui/types.mjs.\n\n${types.join("\n")}`);
