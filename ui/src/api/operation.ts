/** What is asked of the server, before it is sent: the functions made from docs/openapi.json return such. */

/** An operation with all that it needs; `key` makes sure that it is done once however often it is sent; `answer` tells what comes back and is never there. */
export interface Operation<T> { readonly method: string; readonly path: string; readonly body?: unknown; readonly key?: string; readonly answer?: T }

/** Values that are absent, null or empty are left out of the address. */
export function operation<T>(method: string, path: string, query: object = {}, body?: unknown): Operation<T> {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query) as [string, unknown][]) {
    if (value !== undefined && value !== null && value !== "") asked.set(name, String(value));
  }
  const words = asked.toString();
  return { method, path: words === "" ? path : `${path}?${words}`, ...(body === undefined ? {} : { body }) };
}
