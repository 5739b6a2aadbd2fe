/** Why a task is paused, in words for these pages: what the server says of it names commands, for a terminal. */
import type { Budget, Pause } from "../api/types";

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
  if (pause.reason !== "provider" && pause.reason !== "poison" && pause.reason !== "no-progress") return null;
  return pause.detail.replace(/: (longhaul|resume)\b.*$/s, "") || null;
}

/** Whether "resume" is a way on. */
export function canBeResumed(pause: Pause | null | undefined): boolean {
  return !pause || (!asked.has(pause.reason) && pause.reason !== "parent");
}

export interface BudgetNeed { key: Exclude<keyof Budget, "softPercent">; name: string; text: string; add: number; unit: number }

const limits: Record<string, { key: BudgetNeed["key"]; name: string; unit: number }> = {
  tokens: { key: "tokens", name: "Tokens", unit: 1 }, money: { key: "costUsd", name: "US dollars", unit: 1 }, time: { key: "wallTimeMs", name: "Minutes", unit: 60_000 },
  "model calls": { key: "modelCalls", name: "Model calls", unit: 1 }, "tool calls": { key: "toolCalls", name: "Tool calls", unit: 1 }, steps: { key: "steps", name: "Steps", unit: 1 },
};

/** Which limit is in the way, and how much has to be added at least, in units of `unit`. */
export function budgetNeed(pause: Pause): BudgetNeed | null {
  const [, what, used, limit, next] = /the budget of (.+?) is used up: (\$?[\d.]+(?: s)?) of (\$?[\d.]+(?: s)?)(?:, and the next call may take (\$?[\d.]+))?/.exec(pause.detail) ?? [];
  const found = limits[what ?? ""];
  if (!found || used === undefined || limit === undefined) return null;
  const [is, most, wants] = [used, limit, next ?? ""].map((amount) => Number.parseFloat(amount.replace("$", "")));
  const shown = (amount: string) => (amount.startsWith("$") || amount.endsWith(" s") ? amount : Number.parseFloat(amount).toLocaleString("en-US"));
  const name = what === "money" ? "" : ` ${what}`;
  const text = next === undefined ? `All ${shown(limit)}${what === "time" ? "" : name} of its budget are used.` : `${shown(used)} of ${shown(limit)}${name} are used, and the next call may take ${shown(next)}.`;
  // Without a next call that could be told, half as much again.
  const add = wants !== undefined && Number.isFinite(wants) ? Math.max(wants, (is ?? 0) + wants - (most ?? 0)) : Math.max(1, Math.ceil((most ?? 0) / (what === "time" ? 120 : 2)));
  return { ...found, text, add };
}
