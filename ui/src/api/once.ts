/** Sends what must not be done twice: nobody knows whether it was done when its answer is lost on the way. */
import { useRef } from "preact/hooks";
import { newId } from "../state/session";
import type { Operation } from "./operation";

/** Gives an operation the key that it had when it was sent before, and another one once it is another operation. */
export function useOnce(): <T>(wish: Operation<T>) => Operation<T> {
  const last = useRef({ wish: "", key: "" });
  return (wish) => {
    const words = wish.path + JSON.stringify(wish.body);
    if (last.current.wish !== words) last.current = { wish: words, key: newId() };
    return { ...wish, key: last.current.key };
  };
}
