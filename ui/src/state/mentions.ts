/** What a message can name with an @: tools, servers, workflows and agents, as the API has them. */
import { listAgents, listTemplates, listTools, type Mention } from "#api";
import { useMemo } from "preact/hooks";
import { useResource } from "../api/resource";

export interface Offer { token: string; kind: string; about: string; mention: Mention }

/** All that can be named here. Where two have one name, the later one is told apart by its kind. */
export function useOffers(): Offer[] {
  const tools = useResource(listTools()).data;
  const templates = useResource(listTemplates()).data;
  const agents = useResource(listAgents()).data;
  return useMemo(() => {
    const offers = new Map<string, Offer>();
    const add = (name: string, kind: string, about: string, mention: Mention) => {
      const token = offers.has(name) ? `${kind}:${name}` : name;
      offers.set(token, { token, kind, about, mention });
    };
    for (const { name, description, origin } of tools?.tools ?? []) {
      if (origin.type === "mcp") add(name, "tool", description, { type: "mcpTool", name: origin.tool, serverId: origin.server });
      else if (origin.toolkit !== "workflow") add(name, "tool", description, { type: "defaultTool", name, label: name });
    }
    for (const { name, tools: own } of tools?.mcpServers ?? []) add(name, "server", `all its ${own.length} tools`, { type: "mcpServer", name, serverId: name });
    for (const { name, description } of templates?.templates ?? []) add(name, "workflow", description ?? "", { type: "workflow", name, workflowId: name });
    for (const { id, description } of agents?.agents ?? []) add(id, "agent", description, { type: "agent", name: id, agentId: id });
    return [...offers.values()];
  }, [tools, templates, agents]);
}

/** What a text names: each @ at the beginning of a word, followed by all of a name. */
export function named(text: string, offers: Offer[]): Offer[] {
  const words = new Set(Array.from(text.matchAll(/(?:^|[\s(])@([\w:./-]+)/g), ([, word]) => word ?? ""));
  // A sentence may end behind a name.
  for (const word of [...words]) words.add(word.replace(/[.:]+$/, ""));
  return offers.filter(({ token }) => words.has(token));
}

/** The name that is being written before the caret, if there is one, and what may be meant. */
export function beingNamed(before: string, offers: Offer[]): { from: number; offers: Offer[] } | null {
  const found = /(?:^|[\s(])@([\w:./-]*)$/.exec(before);
  if (!found) return null;
  const word = (found[1] ?? "").toLowerCase();
  const fits = offers.filter(({ token }) => token.toLowerCase().includes(word));
  fits.sort((one, other) => Number(other.token.toLowerCase().startsWith(word)) - Number(one.token.toLowerCase().startsWith(word)));
  return { from: before.length - word.length - 1, offers: fits.slice(0, 8) };
}
