/** A form for the fields of a JSON Schema: arguments of tools, parameters of templates. */
import { Field } from "./basics";

export interface Schema {
  type?: string | string[]; description?: string; default?: unknown; enum?: unknown[]; properties?: Record<string, Schema>; required?: string[];
  items?: Schema; minimum?: number; maximum?: number; maxLength?: number; format?: string; examples?: unknown[]; title?: string;
}

/** What somebody typed, by field. */
export type Typed = Record<string, string>;

/** Longer defaults, and texts that may be long, get more than a line. */
const LONG = 60;

function kindOf(schema: Schema): "choice" | "number" | "boolean" | "text" | "json" {
  if (schema.enum) return "choice";
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (type === "number" || type === "integer") return "number";
  if (type === "boolean") return "boolean";
  return type === "string" ? "text" : "json";
}

export function asSchema(schema: unknown): Schema {
  return typeof schema === "object" && schema !== null ? (schema as Schema) : {};
}

/** What is typed before anybody types: the defaults. */
export function typedDefaults(schema: Schema): Typed {
  const typed: Typed = {};
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (field.default !== undefined && field.default !== null) typed[name] = typeof field.default === "string" ? field.default : JSON.stringify(field.default);
  }
  return typed;
}

/** Values as somebody would type them. */
export function typedOf(schema: Schema, values: Record<string, unknown>): Typed {
  return typedDefaults({ properties: Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => name in values).map(([name]) => [name, { default: values[name] }])) });
}

/** The values that were typed, and what is wrong with them. */
export function valuesOf(schema: Schema, typed: Typed): { values: Record<string, unknown>; problems: Record<string, string> } {
  const values: Record<string, unknown> = {};
  const problems: Record<string, string> = {};
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const text = typed[name] ?? "";
    if (text === "") {
      if (schema.required?.includes(name)) problems[name] = "is needed";
      continue;
    }
    switch (kindOf(field)) {
      case "text": values[name] = text; break;
      case "boolean": values[name] = text === "true"; break;
      case "choice": values[name] = field.enum?.find((one) => String(one) === text) ?? text; break;
      case "number": if (Number.isFinite(Number(text))) values[name] = Number(text); else problems[name] = "is a number"; break;
      default: try { values[name] = JSON.parse(text) as unknown; } catch { problems[name] = "is JSON, such as [\"a\", \"b\"] or {\"a\": 1}"; }
    }
  }
  return { values, problems };
}

export function SchemaForm({ schema, typed, onChange, problems }: { schema: Schema; typed: Typed; onChange: (typed: Typed) => void; problems: Record<string, string> }) {
  const fields = Object.entries(schema.properties ?? {});
  if (fields.length === 0) return <p class="faint">It takes nothing.</p>;
  return (
    <div class="stack">
      {fields.map(([name, field]) => (
        <SchemaField key={name} name={name} field={field} needed={schema.required?.includes(name) ?? false} value={typed[name] ?? ""} problem={(typed[name] ?? "") === "" ? undefined : problems[name]}
          put={(value) => onChange({ ...typed, [name]: value })} />
      ))}
    </div>
  );
}

function SchemaField({ name, field, needed, value, problem, put }: { name: string; field: Schema; needed: boolean; value: string; problem: string | undefined; put: (value: string) => void }) {
  const label = `${field.title ?? name}${needed ? "" : " (optional)"}`;
  const hint = problem ? <span class="problem">{name} {problem}</span> : field.description;
  const kind = kindOf(field);
  const example = field.examples?.[0];
  const common = { value, "aria-invalid": problem !== undefined, required: needed, placeholder: example === undefined ? undefined : typeof example === "string" ? example : JSON.stringify(example) };
  const input = kind === "choice" || kind === "boolean"
    ? <select value={value} onChange={(event) => put(event.currentTarget.value)}>{(!needed || value === "") && <option value="">–</option>}{(kind === "boolean" ? ["true", "false"] : (field.enum ?? []).map(String)).map((one) => <option key={one} value={one}>{one}</option>)}</select>
    : kind === "number" ? <input {...common} inputMode="decimal" onInput={(event) => put(event.currentTarget.value)} />
    : kind === "json" ? <textarea {...common} class="mono" rows={3} onInput={(event) => put(event.currentTarget.value)} />
    : value.length > LONG || value.includes("\n") || (field.maxLength ?? 0) > 300 ? <textarea {...common} rows={4} onInput={(event) => put(event.currentTarget.value)} />
    : <input {...common} maxLength={field.maxLength} onInput={(event) => put(event.currentTarget.value)} />;
  return <Field label={label} hint={hint}>{input}</Field>;
}
