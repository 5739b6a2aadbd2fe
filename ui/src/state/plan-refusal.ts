/** Which step, and which of its fields, a refusal of a plan is about. */
import type { EditedStep, Problem } from "./plan-steps";

const FIELDS = ["id", "description", "type", "dependsOn", "tool", "estimatedDuration", "optional", "retry", "model", "forEach", "when", "checks"];

/** Which field of a step a sentence is about. */
function fieldIn(words: string): string {
  const signs: [RegExp, string][] = [
    [/^(?:the )?arguments\b|\bno tool\b|\bnames the tool\b/, "tool"], [/\bdepends on\b|^dependsOn\b/, "dependsOn"], [/\bno description\b|^description\b/, "description"],
    [/\b(?:is|are) called\b|\bis the name of\b|there is a step|^id\b/, "id"], [/\bchecked by\b|\bno probe\b|^checks\b/, "checks"], [/\bmodels\b/, "model"], [/^forEach\b|\bmaxItems\b/, "forEach"],
    [/^when\b/, "when"], [/^retry\b|\bmaxAttempts\b|\bbaseMs\b|\bmaxMs\b/, "retry"], [/^type\b/, "type"],
  ];
  return signs.find(([sign]) => sign.test(words))?.[1] ?? "";
}

/** The part of a list or of a retry that has a field of its own, and what is said of it. */
function partOf(field: string, said: string): [string, string] {
  const [, part, words = ""] = /^(maxAttempts|baseMs|factor|maxMs|maxItems|parallel)\b:? ?(.*)$/s.exec(said) ?? [];
  return part && (field === "retry" || field === "forEach") ? [`${field}.${part}`, words] : [field, said];
}

/** What is said of a part of a field: `.maxAttempts`, `[0].judge`. */
const within = (rest: string, said: string) => (rest === "" ? said : `${rest.replace(/^\./, "")}: ${said}`);

/** Words as a sentence, unless they begin with the name of a field. */
const sentence = (words: string) => (/^[\w.[\]]+: /.test(words) ? words : capital(words));
const capital = (words: string) => words.charAt(0).toUpperCase() + words.slice(1);

/** The step that uses what an id names, and the field in which it does. */
function referring(list: readonly EditedStep[], at: number, id: string): string {
  const step = list[at]?.step;
  return (["tool", "when", "forEach"] as const).find((field) => JSON.stringify(step?.[field] ?? null).includes(JSON.stringify(id))) ?? "dependsOn";
}

/** The place in which a refusal is to be shown, or null if it is about no step. Steps are counted from 0 in a path, from 1 where a template tells them. */
export function refusalAt(list: readonly EditedStep[], ids: readonly string[], message: string): Problem | null {
  const problem = (at: number, field: string, words: string): Problem | null => {
    const key = list[at]?.key;
    return key === undefined ? null : { key, field, words: sentence(words) };
  };
  const path = /^(?:plan|steps)(?:\.steps)?\[(\d+)\](?:\.(\w+))?([^:]*): (.*)$/s.exec(message);
  if (path) {
    const [, at, name = "", rest = "", said = ""] = path;
    return FIELDS.includes(name) ? problem(Number(at), ...partOf(name, within(rest, said))) : problem(Number(at), "", `${name}${within(rest, said)}`);
  }
  const said = /^(?:plan|steps): (.*)$/s.exec(message)?.[1] ?? message;
  const counted = /^step (\d+): (.*)$/s.exec(said);
  if (counted) {
    const words = counted[2] ?? "";
    const [, field = "", rest = "", why = ""] = /^(\w+)([^: ]*): (.*)$/s.exec(words) ?? [];
    const at = Number(counted[1]) - 1;
    const used = /uses the output of '([^']+)'/.exec(words)?.[1];
    if (used !== undefined) return problem(at, referring(list, at, used), words);
    return FIELDS.includes(field) ? problem(at, ...partOf(field, within(rest, why))) : problem(at, fieldIn(words), words);
  }
  const [, field = "", index, id, why = ""] = /^(\w+) of step (?:(\d+)|'([^']+)'): (.*)$/s.exec(said) ?? [];
  if (FIELDS.includes(field)) return problem(index === undefined ? ids.indexOf(id ?? "") : Number(index), ...partOf(field, why));
  const refers = /^step (\d+) refers to the output of '([^']+)'/.exec(said);
  if (refers) return problem(Number(refers[1]), referring(list, Number(refers[1]), refers[2] ?? ""), said.replace(/^step \d+/, "it"));
  const numbered = /^step (\d+) (depends on|has) (.*)$/s.exec(said);
  if (numbered) return problem(Number(numbered[1]), fieldIn(said), `it ${numbered[2]} ${numbered[3]}`);
  const twins = /^two steps are called '([^']+)'/.exec(said);
  if (twins) return problem(ids.lastIndexOf(twins[1] ?? ""), "id", said);
  const named = /\bstep '([^']+)'/.exec(said);
  if (named) return problem(ids.indexOf(named[1] ?? ""), fieldIn(said), said);
  return byValue(list, said, problem);
}

/** What is said of a tool, a model or a probe is about the first step that names it. */
function byValue(list: readonly EditedStep[], said: string, problem: (at: number, field: string, words: string) => Problem | null): Problem | null {
  const tool = /^(?:there is no tool|the arguments for) ([^\s,]+)/.exec(said)?.[1];
  if (tool) return problem(list.findIndex(({ step }) => step.tool?.name === tool), "tool", said);
  const probe = /^there is no probe '([^']+)'/.exec(said)?.[1];
  if (probe) return problem(list.findIndex(({ step }) => step.checks?.some((check) => "probe" in check && check.probe === probe)), "checks", said);
  const model = /^(\S+\/\S+) is not one of the models/.exec(said)?.[1];
  if (model) return problem(list.findIndex(({ step }) => step.model === model), "model", said);
  return null;
}
