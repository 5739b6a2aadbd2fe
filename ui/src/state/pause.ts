/** Why a task is paused and what can be done, in words for these pages. */
import type { Exceeded, Pause } from "../api/types";
import { duration, number, usd } from "../format";

const words: Record<string, string> = {
  approval: "Needs approval", input: "Needs an answer", "unknown-outcome": "Outcome unknown", budget: "Budget used up", provider: "Provider down",
  "tool-changed": "Tool changed", poison: "Poisoned", "no-progress": "No progress", unverified: "Not verified", user: "Paused", parent: "Paused with its task",
};

const texts: Record<string, string> = {
  approval: "It goes on once somebody has approved what it is about to do, or denied it.",
  input: "A model has a question. It goes on with the answer.",
  "unknown-outcome": "A call was sent, and nobody knows whether it took effect. Say so, and it goes on.",
  budget: "A limit of its budget is reached. Add to it, and it goes on at the same step.",
  provider: "No provider of models answers. Resume it once one does.",
  "tool-changed": "A tool is not what it was when the plan was made.",
  poison: "A step ended its worker again and again. Resume it to try once more, or cancel it.",
  "no-progress": "It repeats itself. Tell it what to do otherwise and resume it, or cancel it.",
  unverified: "What a step brought did not pass its checks. Say whether it will do.",
  user: "Somebody paused it. It goes on where it stands once it is resumed.",
  parent: "It goes on together with the task that it works for.",
};

/** Those that are answered in the inbox: resuming would change nothing. */
const asked = new Set(["approval", "input", "unknown-outcome", "tool-changed", "unverified"]);

export function pauseWord(reason: string): string { return words[reason] ?? reason.replaceAll("-", " "); }

export function pauseText(pause: Pause): string {
  if (pause.reason === "budget") {
    const need = budgetNeed(pause);
    if (need) return need.text;
  }
  return texts[pause.reason] ?? "It waits for somebody.";
}

/** What happened, where the reason alone does not say it. */
export function pauseFact(pause: Pause): string | null {
  return pause.reason === "provider" || pause.reason === "poison" || pause.reason === "no-progress" ? pause.detail || null : null;
}

/** Whether "resume" is a way on. */
export function canBeResumed(pause: Pause | null | undefined): boolean {
  return !pause || (!asked.has(pause.reason) && pause.reason !== "parent");
}

export interface BudgetNeed { key: Exceeded["resource"]; name: string; text: string; add: number; unit: number }

interface Limit { name: string; unit: number; shown: (amount: number) => string; of?: string }
const counted = (name: string): Limit => ({ name, unit: 1, shown: number, of: ` ${name.toLowerCase()}` });

const limits: Record<Exceeded["resource"], Limit> = {
  tokens: counted("Tokens"), modelCalls: counted("Model calls"), toolCalls: counted("Tool calls"), steps: counted("Steps"),
  costUsd: { name: "US dollars", unit: 1, shown: usd }, wallTimeMs: { name: "Minutes", unit: 60_000, shown: duration },
};

/** Which limit is in the way, and how much has to be added at least, in units of `unit`. */
export function budgetNeed({ exceeded }: Pause): BudgetNeed | null {
  const found = exceeded && limits[exceeded.resource];
  if (!found) return null;
  const { resource, limit, used, wanted } = exceeded;
  // How much a call of a model may take is known before it; of all else the next one would be one more.
  const isMeasured = resource === "tokens" || resource === "costUsd";
  const [is, most] = [found.shown(used), found.shown(limit) + (found.of ?? "")];
  const text = isMeasured ? `${is} of ${most} are used, and the next call may take ${found.shown(wanted)}.` : `All ${most} of its budget are used.`;
  const add = isMeasured ? Math.max(wanted, used + wanted - limit) : Math.max(1, Math.ceil(limit / found.unit / 2));
  return { key: resource, name: found.name, unit: found.unit, text, add };
}
