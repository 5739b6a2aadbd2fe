/** The presets and agents of the configuration: on what terms a task begins, and who does the work. */
import { useResource } from "../api/resource";

export interface Preset { name: string; description?: string | null }
export interface Agent { id: string; description?: string | null }

export function useTerms(): { presets: Preset[]; agents: Agent[] } {
  const presets = useResource<{ presets: Preset[] }>("/api/presets");
  const agents = useResource<{ agents: Agent[] }>("/api/agents");
  return { presets: presets.data?.presets ?? [], agents: agents.data?.agents ?? [] };
}
