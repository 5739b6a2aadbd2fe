/** Starts the pages. */
import { render } from "preact";
import { App } from "./app";
import { startRouter } from "./router";
import { startKeys } from "./state/keys";
import { helpOpen, paletteOpen } from "./state/session";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/screens.css";

startRouter();
startKeys(() => paletteOpen.value || helpOpen.value || document.querySelector("dialog[open]") !== null);
const root = document.getElementById("app");
if (root) render(<App />, root);
