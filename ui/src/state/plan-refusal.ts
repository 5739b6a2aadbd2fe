/** Which steps, and which of their fields, a refusal of a plan is about: `plan[1].retry.maxAttempts: must be at most 100`. */
import type { EditedStep, Problem } from "./plan-steps";

/** The parts of fields that have a field of their own in the editor. */
const PARTS = ["retry.maxAttempts", "retry.baseMs", "retry.factor", "retry.maxMs", "forEach.maxItems", "forEach.parallel", "tool.arguments"];
const FIELDS = ["id", "description", "type", "dependsOn", "tool", "estimatedDuration", "optional", "retry", "model", "forEach", "when", "checks"];

const capital = (words: string) => words.charAt(0).toUpperCase() + words.slice(1);

/** The field of the editor for a path, and the words that are said there. */
function shownAt(path: string, said: string): [string, string] {
  const part = PARTS.find((one) => path === one);
  if (part) return [part, capital(said)];
  const [, field = "", rest = ""] = /^(\w+)(.*)$/s.exec(path) ?? [];
  if (!FIELDS.includes(field)) return ["", path === "" ? capital(said) : `${path}: ${said}`];
  const check = field === "checks" && /^\[(\d+)\]/.exec(rest)?.[1];
  if (check) return [field, `Check ${Number(check) + 1}: ${said}`];
  if (rest === "" || path === "tool.name") return [field, capital(said)];
  return [field, `${rest.replace(/^\./, "")}: ${said}`];
}

/** What a refusal says of steps, each with the place in which it is to be shown; nothing if it is about none. */
export function refusalsIn(list: readonly EditedStep[], message: string): Problem[] {
  return message.split(/; (?=(?:plan|steps)\[\d+\])/).flatMap((one) => {
    const [, at, path = "", said = ""] = /^(?:plan|steps)\[(\d+)\](?:\.([^\s:]+))?: (.*)$/s.exec(one) ?? [];
    const key = at === undefined ? undefined : list[Number(at)]?.key;
    if (key === undefined) return [];
    const [field, words] = shownAt(path, said);
    return [{ key, field, words }];
  });
}
