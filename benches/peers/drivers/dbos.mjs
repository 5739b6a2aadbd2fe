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
  // As many connections as tasks wait for the database at most; the default is fewer.
  systemDatabasePoolSize: Number(process.env.POOL ?? 50),
  logLevel: "error",
  runAdminServer: false,
});
await DBOS.launch();
await drive({ task: () => workflow() });
await DBOS.shutdown();
