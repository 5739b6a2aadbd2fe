/** Filters of the task list that have a name: chosen by a click, kept and forgotten. */
import { useState } from "preact/hooks";
import { Button, Chip, Dialog, Field } from "../components/basics";
import { address, navigate } from "../router";
import { filterOf, filters, forgetFilter, keepFilter } from "../state/filters";
import { useShortcuts } from "../state/keys";
import { notify } from "../state/session";

export function KeptFilters() {
  const [naming, setNaming] = useState(false);
  const query = filterOf(address.value.query);
  const current = filters.value.find((one) => one.query === query);
  const begin = () => { if (query !== "" && !current) setNaming(true); };
  useShortcuts([{ keys: "s", what: "Keep the filter under a name", group: "Tasks", run: begin }]);
  if (filters.value.length === 0 && query === "") return null;
  const forget = (name: string) => { forgetFilter(name); notify(`The filter ${name} is forgotten`); };
  return (
    <div class="chips" role="group" aria-label="Kept filters">
      {filters.value.map((one) => <Chip key={one.name} on={one === current} onClick={() => navigate(one === current ? "/tasks" : `/tasks?${one.query}`)}><span class="chip-name" title={one.name}>{one.name}</span></Chip>)}
      {current
        ? <Button kind="ghost" icon="cross" aria-label={`Forget the filter ${current.name}`} onClick={() => forget(current.name)}>Forget filter</Button>
        : query !== "" && <Button kind="ghost" icon="plus" title="Keep this filter under a name, in this browser (s)" onClick={begin}>Keep filter</Button>}
      {naming && <NameDialog query={query} close={() => setNaming(false)} />}
    </div>
  );
}

function NameDialog({ query, close }: { query: string; close: () => void }) {
  const [name, setName] = useState("");
  const wanted = name.trim();
  const replaces = filters.value.some((one) => one.name === wanted);
  const keep = (event: Event) => { event.preventDefault(); if (wanted === "") return; keepFilter(wanted, query); close(); };
  return (
    <Dialog title="Keep this filter" close={close}>
      <form class="stack" onSubmit={keep}>
        <Field label="Name" hint={replaces ? "The filter of this name is replaced." : "It is kept in this browser; its address can be sent to others."}>
          <input autoFocus maxLength={60} value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </Field>
        <div class="dialog-foot"><Button onClick={close}>Close</Button><Button kind="primary" type="submit" disabled={wanted === ""}>{replaces ? "Replace" : "Keep"}</Button></div>
      </form>
    </Dialog>
  );
}
