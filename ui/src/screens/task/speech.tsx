/** What models are saying at this moment, word by word. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon } from "../../components/icons";
import { setQuery } from "../../router";
import type { Story } from "../../state/journal";
import type { Spoken } from "../../state/speech";

/** The words themselves; the newest are in sight. */
export function Words({ spoken }: { spoken: Spoken }) {
  const box = useRef<HTMLDivElement>(null);
  const thinks = spoken.text.text === "";
  const words = thinks ? spoken.reasoning.text : spoken.text.text;
  useLayoutEffect(() => { if (box.current) box.current.scrollTop = box.current.scrollHeight; }, [words]);
  return <div ref={box} class={`words${thinks ? " is-reasoning" : ""}`}>{words}<i class="caret" aria-hidden="true" /></div>;
}

/** All that is being said in a task, below whatever view of it is open. */
export function SpeechPanel({ story }: { story: Story }) {
  const open = [...story.speech.values()];
  if (open.length === 0) return null;
  return (
    <section class="speech" aria-label="Models answering now">
      {open.slice(-3).map((spoken) => (
        <article key={`${spoken.step}.${spoken.call}`}>
          <button type="button" class="speech-head" onClick={() => setQuery({ step: String(spoken.step), seq: null })}>
            <Icon name="model" size={13} /><span class="mono faint">{spoken.step + 1}</span>
            <span class="speech-step">{story.steps[spoken.step]?.description ?? ""}</span>
            <span class="faint">{story.calls.get(`${spoken.step}.${spoken.call}`)?.name ?? ""}{spoken.text.text === "" ? " · thinks" : ""}</span>
          </button>
          <Words spoken={spoken} />
        </article>
      ))}
    </section>
  );
}
