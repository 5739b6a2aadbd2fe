/** The presets and agents of the configuration: on what terms a task begins, and who does the work. */
import { listAgents, listPresets } from "#api";
import { useResource } from "../api/resource";

export function useTerms() {
  const presets = useResource(listPresets());
  const agents = useResource(listAgents());
  return { presets: presets.data?.presets ?? [], agents: agents.data?.agents ?? [] };
}
