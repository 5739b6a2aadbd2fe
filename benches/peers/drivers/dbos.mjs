// The measured work as DBOS workflows of steps. DATABASE_URL names the server.
//
// Workflows are started directly, not through a queue, whose polling would be measured instead.

import { DBOS } from "@dbos-inc/dbos-sdk";
import { STEPS, drive, payload, step } from "./window.mjs";

async function steps() {
  let last;
  for (let at = 0; at < STEPS; at += 1) {
    await DBOS.runStep(
      async () => {
        last = step(last);
        return payload();
      },
      { name: "step" },
    );
  }
}

const workflow = DBOS.registerWorkflow(steps, { name: "task" });
DBOS.setConfig({
  name: "peer",
  systemDatabaseUrl: process.env.DATABASE_URL,
  // More than the default of 10, for 50 tasks; 10, 20 and 50 were equally fast.
  systemDatabasePoolSize: 20,
  logLevel: "error",
  runAdminServer: false,
});
await DBOS.launch();
await drive({ task: () => workflow() });
await DBOS.shutdown();
