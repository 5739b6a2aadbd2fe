/** What the server runs with, and what belongs to this browser. */
import { getContract, getWorker, listModels } from "#api";
import { hasKey, locked, setKey } from "../api/client";
import { useResource } from "../api/resource";
import { Badge, Button, Choice, Fact, Loading } from "../components/basics";
import { theme, type Theme } from "../state/session";

export function SettingsScreen() {
  const models = useResource(listModels());
  const status = useResource(getWorker());
  const contract = useResource(getContract());
  const version = (contract.data as { info?: { version?: string } } | undefined)?.info?.version;
  const themes: [Theme, string][] = [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]];
  return (
    <section class="screen is-narrow">
      <header class="screen-head"><h1>Settings</h1></header>
      <section class="card stack">
        <h2>This browser</h2>
        <Choice label="Colours" options={themes} value={theme.value} choose={(value) => { theme.value = value; }} />
        {hasKey() ? <p>The key of the server is kept in this tab. <Button onClick={() => { setKey(null); locked.value = ""; }}>Forget it</Button></p> : <p class="faint">This server asks for no key; it answers to this machine only.</p>}
      </section>
      <section class="card stack">
        <h2>Language models</h2>
        {!models.data ? <Loading rows={3} /> : (
          <>
            <dl class="facts"><Fact name="Default"><code>{models.data.default}</code></Fact><Fact name="State">{models.data.offline ? <Badge status="paused" label="Rules only" /> : <Badge status="completed" label="Models answer" />}</Fact></dl>
            {models.data.offline && <><p>No provider has a key. Name one and start the server again:</p><pre>{"export ANTHROPIC_API_KEY=…   # or OPENAI_API_KEY, GEMINI_API_KEY; a running Ollama is found by itself\nlonghaul serve"}</pre></>}
            <ul class="plain tags">{models.data.models.map((name) => <li key={name}><code class="tag">{name}</code></li>)}</ul>
          </>
        )}
      </section>
      <section class="card stack">
        <h2>Server</h2>
        {!status.data ? <Loading rows={2} /> : (
          <dl class="facts"><Fact name="Version">{version ? <code>{version}</code> : "–"}</Fact><Fact name="Database">{status.data.database.engine}</Fact><Fact name="Worker">{status.data.worker.enabled ? <code>{status.data.worker.name}</code> : "none"}</Fact><Fact name="Side by side">{status.data.worker.concurrency}</Fact><Fact name="Address"><code>{location.origin}</code></Fact></dl>
        )}
        <p class="faint">The server is configured by its file and its environment, and never over the API: <code>longhaul.toml</code>, described in docs/configuration.md.</p>
        <dl class="facts"><Fact name="Contract of the API"><a href="/openapi.json">openapi.json</a></Fact><Fact name="Metrics"><a href="/metrics">metrics</a></Fact><Fact name="Described in"><code>docs/api.md</code></Fact></dl>
      </section>
    </section>
  );
}
