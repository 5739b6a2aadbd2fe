/** Conditions and references of plans, in words. */

function operand(value: unknown): string {
  if (typeof value === "object" && value !== null && "$output" in value) {
    const { $output, pointer } = value as { $output: unknown; pointer?: unknown };
    return `output of ${String($output)}${pointer ? String(pointer) : ""}`;
  }
  if (typeof value === "object" && value !== null && "$item" in value) return "the item";
  return JSON.stringify(value);
}

const between: Record<string, string> = {
  equals: "is", notEquals: "is not", matches: "matches", contains: "contains", greaterThan: ">", atLeast: "≥", lessThan: "<", atMost: "≤",
};

export function conditionWords(condition: unknown): string {
  if (typeof condition !== "object" || condition === null) return JSON.stringify(condition);
  const [name, value] = Object.entries(condition)[0] ?? ["", null];
  if ((name === "all" || name === "any") && Array.isArray(value)) return value.map((part) => (Array.isArray(part?.all) || Array.isArray(part?.any) ? `(${conditionWords(part)})` : conditionWords(part))).join(name === "all" ? " and " : " or ");
  if (name === "not") return `not (${conditionWords(value)})`;
  if (name === "exists") return `there is ${operand(value)}`;
  if (name in between && Array.isArray(value)) return `${operand(value[0])} ${between[name]} ${operand(value[1])}`;
  return JSON.stringify(condition);
}

export function listWords(items: unknown): string {
  return Array.isArray(items) ? `${items.length} items` : operand(items);
}

/** What a check looks at: its kind, and the words that matter of it. */
export function checkWords(check: unknown): { name: string; detail: string } {
  const { required: _, ...kind } = (check ?? {}) as Record<string, unknown>;
  const [name, value] = Object.entries(kind)[0] ?? ["check", ""];
  return { name: name === "probe" ? `probe ${String(value)}` : name, detail: name === "judge" ? String(value) : name === "schema" ? JSON.stringify(value) : "" };
}
