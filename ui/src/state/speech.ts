/** What models are saying at this moment: pieces that may be missed, come late, or begin anew. */
import type { Story } from "./journal";

/** A piece, as it comes between the entries of a journal. */
export interface Said { step: number; call: number; attempt: number; round: number; part: "text" | "reasoning"; from: number; to: number; text: string }

interface Part { to: number; text: string }

export interface Spoken { step: number; call: number; attempt: number; round: number; text: Part; reasoning: Part }

/** More of an answer than this is on no screen at once. */
const SHOWN = 40_000;

export function keyOf(step: number, call: number): string { return `${step}.${call}`; }

/** Takes a piece in. Returns whether it brought anything. */
export function hear(story: Story, said: Said): boolean {
  const key = keyOf(said.step, said.call);
  // An answer that is recorded already has nothing to add.
  const call = story.calls.get(key);
  if (call && call.attempt >= said.attempt && call.state !== "running") return false;
  let spoken = story.speech.get(key);
  if (!spoken || spoken.attempt < said.attempt || spoken.round < said.round) {
    const blank = { to: 0, text: "" };
    spoken = { step: said.step, call: said.call, attempt: said.attempt, round: said.round, text: { ...blank }, reasoning: { ...blank } };
    story.speech.set(key, spoken);
  }
  if (spoken.attempt > said.attempt || spoken.round > said.round) return false;
  const part = spoken[said.part];
  if (said.to <= part.to) return false;
  // Who was too slow, or came too late, misses a part.
  const missed = said.from > part.to && said.from > 0 ? "… " : "";
  part.text = (said.from < part.to ? "" : part.text + missed) + said.text;
  if (part.text.length > SHOWN) part.text = `… ${part.text.slice(-SHOWN / 2)}`;
  part.to = said.to;
  return true;
}
