/** Which tools a task is offered: all, or those that are ticked; and what is offered only to those who ask for it. */
import { listTemplates, listTools, type StartTask } from "#api";
import { useResource } from "../api/resource";
import type { ToolInfo } from "../api/types";

type Mentions = NonNullable<StartTask["mentions"]>;

/** What is ticked, by `tool NAME`, `server NAME` and `workflow NAME`, and whether it may start tasks of its own. */
export interface Picks { only: string[]; subTasks: boolean }

/** What can be ticked one by one: what starts tasks stands beside these. */
const plain = (tools: ToolInfo[]) => tools.filter((tool) => tool.origin.type === "mcp" || tool.origin.toolkit !== "workflow");

/** What was picked as the API takes it. */
export function useToolWish({ only, subTasks }: Picks): Pick<StartTask, "mentions" | "allowedAppDefaultToolkit"> {
  const tools = plain(useResource(listTools()).data?.tools ?? []);
  const has = (kind: string, name: string) => only.includes(`${kind} ${name}`);
  const servers = [...new Set(tools.flatMap((tool) => (tool.origin.type === "mcp" ? [tool.origin.server] : [])))].filter((name) => has("server", name));
  const mentions: Mentions = servers.map((name) => ({ type: "mcpServer", name, serverId: name }));
  for (const tool of tools.filter((one) => has("tool", one.name))) {
    if (tool.origin.type === "app") mentions.push({ type: "defaultTool", name: tool.name, label: tool.name });
    else if (!servers.includes(tool.origin.server)) mentions.push({ type: "mcpTool", name: tool.origin.tool, serverId: tool.origin.server });
  }
  const narrows = mentions.length > 0;
  for (const one of only.filter((pick) => pick.startsWith("workflow "))) mentions.push({ type: "workflow", name: one.slice(9), workflowId: one.slice(9) });
  // Naming a tool narrows what is offered to what is named; where nothing is to be narrowed, the sub-tasks stand beside all toolkits.
  if (subTasks && narrows) mentions.push({ type: "defaultTool", name: "sub_task", label: "sub_task" });
  const toolkits = [...new Set(tools.flatMap((tool) => (tool.origin.type === "app" ? [tool.origin.toolkit] : [])))];
  return { ...(mentions.length > 0 ? { mentions } : {}), ...(subTasks && !narrows ? { allowedAppDefaultToolkit: [...toolkits, "sub_task"] } : {}) };
}

/** What a task was given, as it was picked: `useToolWish` the other way round. */
export function usePicksOf({ mentions = [], allowedAppDefaultToolkit }: Pick<StartTask, "mentions" | "allowedAppDefaultToolkit">): Picks {
  const tools = useResource(listTools()).data?.tools ?? [];
  const only = (mentions ?? []).flatMap((one) => {
    if (one.type === "mcpServer") return [`server ${one.serverId}`];
    if (one.type === "workflow") return [`workflow ${one.workflowId}`];
    if (one.type === "defaultTool") return one.name === "sub_task" ? [] : [`tool ${one.name}`];
    if (one.type !== "mcpTool") return [];
    const tool = tools.find(({ origin }) => origin.type === "mcp" && origin.server === one.serverId && origin.tool === one.name);
    return tool ? [`tool ${tool.name}`] : [];
  });
  return { only, subTasks: (mentions ?? []).some((one) => one.type === "defaultTool" && one.name === "sub_task") || (allowedAppDefaultToolkit ?? []).includes("sub_task") };
}

export function ToolPicks({ picks, change }: { picks: Picks; change: (picks: Picks) => void }) {
  const read = useResource(listTools());
  const templates = useResource(listTemplates({ limit: 1000 })).data?.templates ?? [];
  const tools = plain(read.data?.tools ?? []);
  const servers = read.data?.mcpServers ?? [];
  const on = (pick: string) => picks.only.includes(pick);
  const toggle = (pick: string) => change({ ...picks, only: on(pick) ? picks.only.filter((one) => one !== pick) : [...picks.only, pick] });
  const count = picks.only.filter((pick) => !pick.startsWith("workflow ")).length;
  return (
    <details class="more"><summary>Tools{count > 0 ? `: only ${count}` : ": all"}</summary>
      <p class="faint picks-hint">While none is ticked, all of them may be used. Once you tick some, only those.</p>
      {servers.length > 0 && <div class="tool-picks" role="group" aria-label="MCP servers">{servers.map((server) => (
        <label key={server.name} class="check"><input type="checkbox" checked={on(`server ${server.name}`)} onChange={() => toggle(`server ${server.name}`)} />all of <code>{server.name}</code><span class="tag">{server.tools.length}</span></label>
      ))}</div>}
      <div class="tool-picks" role="group" aria-label="Tools">{tools.map((tool) => {
        const whole = tool.origin.type === "mcp" && on(`server ${tool.origin.server}`);
        return <label key={tool.name} class="check" title={tool.description}><input type="checkbox" checked={whole || on(`tool ${tool.name}`)} disabled={whole} onChange={() => toggle(`tool ${tool.name}`)} /><code>{tool.name}</code>{tool.effect !== "read-only" && <span class="tag">{tool.effect}</span>}</label>;
      })}</div>
      <p class="faint picks-hint">Offered besides, if you tick them:</p>
      <div class="tool-picks" role="group" aria-label="Offered besides">
        <label class="check" title="A goal of the model's own, carried out as a task of its own"><input type="checkbox" checked={picks.subTasks} onChange={() => change({ ...picks, subTasks: !picks.subTasks })} /><code>sub_task</code></label>
        {templates.map((one) => <label key={one.name} class="check" title={one.description || one.goal}><input type="checkbox" checked={on(`workflow ${one.name}`)} onChange={() => toggle(`workflow ${one.name}`)} /><code>workflow_{one.name}</code></label>)}
      </div>
    </details>
  );
}
