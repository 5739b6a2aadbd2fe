/** The jobs of the task in the queue. */
import { listJobs } from "#api";
import { useResource } from "../../api/resource";
import { Empty, Failure, Loading } from "../../components/basics";
import { clock, duration } from "../../format";
import type { ViewProps } from "./task";

export function JobsTab({ id }: ViewProps) {
  const read = useResource(listJobs(id), 3000);
  if (read.error && !read.data) return <Failure error={read.error} retry={read.reload} />;
  if (!read.data) return <Loading />;
  if (read.data.jobs.length === 0) return <Empty icon="workers" title="No jobs"><p>Without Redis the database itself is the queue, and a task needs no jobs. With <code>REDIS_URL</code> every wake-up of the task is a job of BullMQ, shown here and in Bull Board.</p></Empty>;
  return (
    <div class="scroll-x" role="region" aria-label="Table" tabIndex={0}><table class="plain-table">
      <thead><tr><th>Job</th><th>Name</th><th>State</th><th>Attempts</th><th>Made</th><th>Took</th><th>Why it failed</th></tr></thead>
      <tbody>{read.data.jobs.map((job) => (
        <tr key={job.id}><td class="mono">{job.id}</td><td>{job.name}</td><td>{job.state}</td><td class="mono">{job.attemptsMade}</td><td class="mono">{clock(job.timestamp)}</td>
          <td class="mono">{job.processedOn && job.finishedOn ? duration(job.finishedOn - job.processedOn) : "–"}</td><td>{job.failedReason ?? ""}</td></tr>
      ))}</tbody>
    </table></div>
  );
}
