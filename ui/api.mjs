// Writes .generated/api.ts: a type for each schema of docs/openapi.json, and a function for each operation. Every
// build and every check does it first, so that the pages are held to what the server says of itself.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const root = import.meta.dirname;
const { components, paths } = JSON.parse(readFileSync(`${root}/../docs/openapi.json`, "utf8"));

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

/** The parameters of an operation that stand in its path, or in its query. */
const parametersIn = (operation, place) => (operation.parameters ?? []).filter((one) => one.in === place);

/** What a successful answer holds: its JSON, or nothing that has a type. */
function answerOf(operation) {
  const content = Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1].content;
  return content?.["application/json"] ? typeOf(content["application/json"].schema) : content ? "string" : "void";
}

/** An operation as a function of what stands in its path, of its body and of its query, in this order. */
function functionOf(method, path, operation) {
  const inPath = parametersIn(operation, "path");
  const inQuery = parametersIn(operation, "query");
  const [media, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const queried = `{ ${inQuery.map((one) => `${one.name}${one.required ? "" : "?"}: ${typeOf(one.schema)}`).join("; ")} }`;
  const takes = [
    ...inPath.map((one) => `${one.name}: ${typeOf(one.schema)}`),
    ...(body ? [`body${operation.requestBody.required ? "" : "?"}: ${media === "application/json" ? typeOf(body.schema) : "Blob"}`] : []),
    ...(inQuery.length > 0 ? [inQuery.some((one) => one.required) ? `query: ${queried}` : `query: ${queried} = {}`] : []),
  ];
  const address = inPath.length > 0 ? `\`${path.replaceAll(/\{(\w+)\}/g, "${encodeURIComponent($1)}")}\`` : literal(path);
  const given = [literal(method.toUpperCase()), address, ...(inQuery.length > 0 ? ["query"] : body ? ["{}"] : []), ...(body ? ["body"] : [])];
  return `${words({ description: operation.summary }, "")}export const ${operation.operationId} = (${takes.join(", ")}) => operation<${answerOf(operation)}>(${given.join(", ")});\n`;
}

const types = Object.entries(components.schemas).map(([name, schema]) => `${words(schema, "")}export type ${name} = ${typeOf(schema)};\n`);
const functions = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).filter(([, one]) => one.operationId).map(([method, one]) => functionOf(method, path, one)));
mkdirSync(`${root}/.generated`, { recursive: true });
writeFileSync(`${root}/.generated/api.ts`, `// Made from docs/openapi.json by ui/api.mjs.\nimport { operation } from "../src/api/operation";\n\n${types.join("\n")}\n${functions.join("\n")}`);
