//! All operations, in the order in which the document has them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::operation::Operation;
use crate::orchestrator::{ContextView, Detection, ScheduleWish, TaskDiff, TemplateWish};
use crate::repository::TemplateVersion;
use crate::server::about::{Health, ModelList, ToolList, WorkerList, WorkerReport};
use crate::server::analytics::{
    ByConsumer, ByTimed, DurationTable, FailureTable, Overview, TaskSeries, UsageTable, Window,
};
use crate::server::budget::More;
use crate::server::chat::{Begin, ChatBody, Orchestrated};
use crate::server::context::{Back, CheckpointList};
use crate::server::drafts::PlanDraft;
use crate::server::events;
use crate::server::forks::{ForkBody, RetryBody};
use crate::server::inbox::{EffectList, Inbox, Range as InboxRange, Told, Word};
use crate::server::orchestrate::{Cancelled, Start, Started, Which as WhichTask};
use crate::server::plans::TaskPlan;
use crate::server::presets::{AgentList, PresetList};
use crate::server::recordings::{self, Where};
use crate::server::schedules::{FireTimes, Pattern, Range as ScheduleRange, ScheduleList, ScheduleView};
use crate::server::socket::{Command, Control, TaskFrame};
use crate::server::status::TaskStatus;
use crate::server::tasks::{Change, Children, Range, Resume, Which};
use crate::server::templates::{Range as TemplateRange, Run, TemplateList, Which as WhichVersion};
use crate::server::threads::{
    Conversation, Draft, Page, Range as ThreadRange, Rename, ThreadList, ThreadView,
};
use crate::server::trials::{Trial, Wish as TrialWish};
use crate::server::views::{EntryView, JobList, StepList, TaskDetail, TaskList, TraceList};
use crate::task::Replay;

const CHAT: &str = "Chat";
const TASKS: &str = "Tasks";
const INBOX: &str = "Inbox";
const SCHEDULES: &str = "Schedules";
const TEMPLATES: &str = "Templates";
const ANALYTICS: &str = "Analytics";
const SERVER: &str = "Server";

/// What may go wrong when a model is asked for a plan or an answer.
const MODEL_REFUSALS: &[u16] = &[409, 422, 502, 504];

/// How a browser, which cannot send headers with a WebSocket, brings the key.
const SOCKETS: &str = "Programs send `Authorization`. A browser names the subprotocols `longhaul` and `bearer.` with \
    the key in hexadecimal digits behind it.";

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What can be asked about a task that was started, and as what they take its id.
const OF_A_TASK: &[(&str, &str)] = &[
    ("getTaskStatus", "taskId"),
    ("getTask", "id"),
    ("changeTask", "id"),
    ("listSteps", "id"),
    ("showPlan", "id"),
    ("listTraces", "id"),
    ("listJobs", "id"),
    ("pauseTask", "id"),
    ("resumeTask", "id"),
    ("cancelTask", "id"),
    ("forkTask", "id"),
    ("retryTask", "id"),
    ("exportTask", "id"),
    ("replayTask", "id"),
    ("raiseBudget", "id"),
    ("showContext", "id"),
    ("listCheckpoints", "id"),
    ("takeCheckpoint", "id"),
    ("restoreTask", "id"),
    ("tellTask", "id"),
    ("listEffects", "id"),
    ("cancelTaskById", "taskId"),
];

pub(super) fn tags() -> Value {
    json!([
        {"name": CHAT, "description": "Conversations, and the tasks that come of them."},
        {"name": TASKS, "description": "What there is to know of tasks, and what may be done with them."},
        {"name": INBOX, "description": "What tasks ask people."},
        {"name": SCHEDULES, "description": "What is to be started when."},
        {"name": TEMPLATES, "description": "Strategies with parameters."},
        {"name": ANALYTICS, "description": "What happened to the caller's tasks, as numbers."},
        {"name": SERVER, "description": "What the server is, has and can."},
    ])
}

pub(super) fn all() -> Vec<Operation> {
    let tagged = |tag, operations: Vec<Operation>| {
        operations.into_iter().map(move |operation| operation.tagged(tag)).collect::<Vec<_>>()
    };
    [
        tagged(CHAT, chat()),
        tagged(TASKS, tasks()),
        tagged(TASKS, control()),
        tagged(TASKS, forks()),
        tagged(TASKS, recordings()),
        tagged(TASKS, streams()),
        tagged(INBOX, inbox()),
        tagged(SCHEDULES, schedules()),
        tagged(TEMPLATES, templates()),
        tagged(ANALYTICS, analytics()),
        tagged(SERVER, server()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn chat() -> Vec<Operation> {
    const ORCHESTRATE: &str = "/api/chat/orchestrate";
    vec![
        repeatable(Operation::post("/api/chat", "chat", "Says something in a thread."))
            .about(
                "A simple message is answered by a model as a UI message stream of the AI SDK, version 1. A \
                 complex one becomes a task: the answer is JSON for `Accept: application/json`, a stream that \
                 stays open until the task ends for `Accept: text/event-stream`.",
            )
            .body::<ChatBody>()
            .reply::<Orchestrated>()
            .text("text/event-stream", "A UI message stream: `data:` and a chunk, until `data: [DONE]`.")
            .refuses(MODEL_REFUSALS),
        Operation::get("/api/chat/{id}/stream", "resumeChat", "The stream of an answer once more.")
            .about(
                "Of a thread: the stream of the answer or task that it waits for, from its beginning. Of an answer or \
                 task, by the id that `x-workflow-run-id` named: its stream, also if it has ended.",
            )
            .query::<Begin>()
            .text("text/event-stream", "A UI message stream: `data:` and a chunk, until `data: [DONE]`.")
            .empty(204, "The thread waits for nothing."),
        Operation::new("delete", "/api/chat/{id}/stream", "stopChat", "Ends an answer where it is.")
            .about("Of a thread, or by the id that `x-workflow-run-id` named. A task is cancelled by its own route.")
            .empty(204, "Nothing more is said."),
        repeatable(Operation::post(ORCHESTRATE, "startTask", "Starts a task outright."))
            .about("After a 200 the task is durable. Steps count milliseconds, the whole counts seconds.")
            .body::<Start>()
            .reply::<Started>()
            .links(OF_A_TASK)
            .refuses(MODEL_REFUSALS),
        Operation::get(ORCHESTRATE, "getTaskStatus", "Tells how a task stands.")
            .query::<WhichTask>()
            .reply::<TaskStatus>()
            .refuses(&[404]),
        Operation::new("delete", ORCHESTRATE, "cancelTaskById", "Cancels a task.")
            .query::<WhichTask>()
            .reply::<Cancelled>()
            .refuses(&[404, 409]),
        Operation::get("/api/chat/{id}/messages", "listMessages", "What was said in a thread.")
            .query::<ThreadRange>()
            .reply::<Conversation>()
            .refuses(&[404]),
        Operation::get("/api/threads", "listThreads", "The caller's threads, the one written to last first.")
            .query::<Page>()
            .reply::<ThreadList>(),
        Operation::get("/api/threads/{id}", "getThread", "A thread.").reply::<ThreadView>().refuses(&[404]),
        Operation::new("patch", "/api/threads/{id}", "changeThread", "Gives a thread another title.")
            .body::<Rename>()
            .reply::<ThreadView>()
            .refuses(&[404]),
        Operation::new("delete", "/api/threads/{id}", "deleteThread", "Forgets a thread; its tasks stay.")
            .empty(204, "It is gone.")
            .refuses(&[404]),
        Operation::post("/api/chat/detect", "detect", "What the detector's rules say of a text.")
            .about("No model is asked, and nothing is kept.")
            .without_database()
            .body::<Draft>()
            .reply::<Detection>(),
        Operation::post("/api/chat/plan", "draftPlan", "Plans as a start would, and creates nothing.")
            .about(
                "The plan can be changed and given back to a start as its `plan`. What planning consumes is told, and \
                 no task is charged for it.",
            )
            .without_database()
            .body::<Start>()
            .reply::<PlanDraft>()
            .refuses(MODEL_REFUSALS),
    ]
}

/// An operation that starts at most one task per key.
fn repeatable(operation: Operation) -> Operation {
    operation.header(
        "Idempotency-Key",
        "The same request with the same key gets the same reply and starts nothing, for 24 hours.",
        json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
    )
}

fn tasks() -> Vec<Operation> {
    vec![
        Operation::get("/api/tasks", "listTasks", "The caller's tasks, newest first.")
            .query::<Which>()
            .reply::<TaskList>(),
        Operation::get("/api/tasks/{id}", "getTask", "Everything about a task but its steps.")
            .reply::<TaskDetail>()
            .refuses(&[404]),
        Operation::new("patch", "/api/tasks/{id}", "changeTask", "Says how urgent a task is from now on.")
            .body::<Change>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::get("/api/tasks/{id}/steps", "listSteps", "Every step of every revision of the plan.")
            .reply::<StepList>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/children", "listChildren", "The sub-tasks of a task, newest first.")
            .query::<Children>()
            .reply::<TaskList>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/plan", "showPlan", "The plan, revision by revision.")
            .about("What each revision kept, dropped and added, who made it and why.")
            .reply::<TaskPlan>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/traces", "listTraces", "A piece of the journal.")
            .query::<Range>()
            .reply::<TraceList>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/traces/{seq}", "getTrace", "An entry with its contents in full.")
            .reply::<EntryView>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/jobs", "listJobs", "The jobs of a task that the queue still keeps.")
            .about("Empty if the database is the queue.")
            .reply::<JobList>()
            .refuses(&[404]),
    ]
}

/// What is done with a task.
fn control() -> Vec<Operation> {
    vec![
        Operation::post("/api/tasks/{id}/pause", "pauseTask", "Pauses a task.")
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/resume", "resumeTask", "Lets a paused task go on.")
            .about(
                "A task that is paused for `unknown-outcome` needs a word about how the call ended; `request` says which \
                 one, if there are several.",
            )
            .optional_body::<Resume>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/cancel", "cancelTask", "Cancels a task.")
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/budget", "raiseBudget", "Adds to the budget of a task.")
            .about("A task that was paused because its budget was used up goes on.")
            .body::<More>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::get("/api/tasks/{id}/context", "showContext", "What the next prompt of a task holds.")
            .about("Part by part with estimated tokens, against the window of the model; and what summaries stand for.")
            .reply::<ContextView>()
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/checkpoints", "listCheckpoints", "The checkpoints of a task, oldest first.")
            .reply::<CheckpointList>()
            .refuses(&[404]),
        Operation::post("/api/tasks/{id}/checkpoints", "takeCheckpoint", "Writes down where a task stands.")
            .about("The reply holds the checkpoint that was taken.")
            .reply::<CheckpointList>()
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/restore", "restoreTask", "Puts a task back to a checkpoint.")
            .about(
                "The task has to be paused, or not begun. Steps since then are undone and what was open is done again by \
                 a new revision of the plan; effects that happened stay on record, and the models are told of them. Refused with 409 \
                 `effects_would_repeat` if the task changed the world since.",
            )
            .body::<Back>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/messages", "tellTask", "Tells a task something while it works.")
            .about("Models read it at their next turn, and those of later steps from the beginning.")
            .body::<Told>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
        Operation::get("/api/tasks/{id}/effects", "listEffects", "What a task did to the world.")
            .reply::<EffectList>()
            .refuses(&[404]),
    ]
}

fn recordings() -> Vec<Operation> {
    const FILE: &str =
        "Lines of JSON: a header, the entries of the journal, and the contents that they name.";
    vec![
        Operation::get("/api/tasks/{id}/export", "exportTask", "The task as one file.")
            .about("Refused with 409 `journal_removed` if retention has removed its journal.")
            .text(recordings::MEDIA, FILE)
            .refuses(&[404, 409]),
        Operation::post("/api/tasks/{id}/replay", "replayTask", "Carries a task out again from what is recorded of it.")
            .about(
                "Models, tools and people only repeat what is recorded; nothing runs, and nothing is changed. The reply says                  how far it goes the same way, and where it first goes another one. Refused with 422 `replay_impossible` if                  the task cannot be carried out from its recording, `replay_too_long` after a minute, 413 if it is                  larger than `server.maxRecordingBytes`, and 409 `replays_busy` while others replay.",
            )
            .reply::<Replay>()
            .refuses(&[404, 409, 413, 422]),
        Operation::post("/api/tasks/import", "importTask", "Takes a task that was exported, as a record.")
            .about(
                "It belongs to the caller and never runs: one that had not ended is cancelled. The file may be \
                 packed with zstd. Refused with 409 `task_exists` if it is here already, and with 422 if it is cut, \
                 was altered, or tells of what cannot have happened.",
            )
            .query::<Where>()
            .file(recordings::MEDIA, FILE)
            .reply::<TaskDetail>()
            .refuses(&[409, 422]),
    ]
}

fn forks() -> Vec<Operation> {
    vec![
        repeatable(Operation::post(
            "/api/tasks/{id}/fork",
            "forkTask",
            "Starts a task that begins with the facts of this one.",
        ))
        .about(
            "What was completed stays completed, and no tool is called again for it. Refused with 409 \
                 `effects_would_repeat` if the task changed the world behind that place.",
        )
        .optional_body::<ForkBody>()
        .reply::<TaskDetail>()
        .refuses(&[404, 409, 422]),
        repeatable(Operation::post(
            "/api/tasks/{id}/retry",
            "retryTask",
            "Starts a new task in the place of one that has ended.",
        ))
        .about("Its failed steps are done anew, or all from one step on; what else was completed stays.")
        .optional_body::<RetryBody>()
        .reply::<TaskDetail>()
        .refuses(&[404, 409, 422]),
        Operation::get("/api/tasks/{id}/diff/{other}", "diffTasks", "Two tasks side by side, step by step.")
            .reply::<TaskDiff>()
            .refuses(&[404]),
    ]
}

fn inbox() -> Vec<Operation> {
    vec![
        Operation::get("/api/inbox", "listRequests", "What the caller's tasks ask people.")
            .query::<InboxRange>()
            .reply::<Inbox>()
            .refuses(&[404]),
        Operation::post("/api/inbox/{id}", "decideRequest", "Answers a request, once.")
            .about("An id stands for one attempt of one call: a word about one request never counts for another.")
            .body::<Word>()
            .reply::<TaskDetail>()
            .refuses(&[404, 409]),
    ]
}

fn schedules() -> Vec<Operation> {
    const ONE: &str = "/api/schedules/{id}";
    vec![
        Operation::get("/api/schedules", "listSchedules", "The caller's schedules, newest first.")
            .query::<ScheduleRange>()
            .reply::<ScheduleList>(),
        repeatable(Operation::post("/api/schedules", "createSchedule", "Makes a schedule."))
            .about("It needs a `task`, and `cron` or `at`. Each fire time starts one task.")
            .body::<ScheduleWish>()
            .reply::<ScheduleView>()
            .refuses(&[404, 409, 422]),
        Operation::get("/api/schedules/preview", "previewSchedule", "When a pattern would fire.")
            .without_database()
            .query::<Pattern>()
            .reply::<FireTimes>(),
        Operation::get(ONE, "getSchedule", "A schedule with its next fire times.")
            .reply::<ScheduleView>()
            .refuses(&[404]),
        Operation::new("patch", ONE, "changeSchedule", "Changes a schedule.")
            .about("What is missing stays as it is; a `task` is replaced as a whole.")
            .body::<ScheduleWish>()
            .reply::<ScheduleView>()
            .refuses(&[404, 409]),
        Operation::new("delete", ONE, "deleteSchedule", "Forgets a schedule; its tasks stay.")
            .empty(204, "It is gone.")
            .refuses(&[404]),
        Operation::post("/api/schedules/{id}/pause", "pauseSchedule", "Lets a schedule fire no more.")
            .reply::<ScheduleView>()
            .refuses(&[404, 409]),
        Operation::post("/api/schedules/{id}/resume", "resumeSchedule", "Lets a paused schedule go on.")
            .reply::<ScheduleView>()
            .refuses(&[404, 409]),
        repeatable(Operation::post(
            "/api/schedules/{id}/trigger",
            "triggerSchedule",
            "Starts the task of a schedule now.",
        ))
        .reply::<TaskDetail>()
        .refuses(&[404, 409, 422, 502, 504]),
    ]
}

fn templates() -> Vec<Operation> {
    const ALL: &str = "/api/templates";
    const ONE: &str = "/api/templates/{id}";
    vec![
        Operation::get(ALL, "listTemplates", "The caller's templates by name, each with its newest version.")
            .query::<TemplateRange>()
            .reply::<TemplateList>(),
        Operation::post(ALL, "createTemplate", "Writes the next version of a template.")
            .about(
                "A version never changes; the same content again is the same version. With `fromTask`, goal and \
                 steps are those of a completed task.",
            )
            .body::<TemplateWish>()
            .reply::<TemplateVersion>()
            .refuses(&[404, 409]),
        Operation::get(ONE, "getTemplate", "A version of a template.")
            .query::<WhichVersion>()
            .reply::<TemplateVersion>()
            .refuses(&[404]),
        Operation::new("delete", ONE, "deleteTemplate", "Forgets a template; its tasks stay.")
            .empty(204, "It is gone.")
            .refuses(&[404]),
        repeatable(Operation::post("/api/templates/{id}/run", "runTemplate", "Starts a task of a template."))
            .body::<Run>()
            .reply::<Started>()
            .links(OF_A_TASK)
            .refuses(&[404, 409, 422, 502, 504]),
    ]
}

fn streams() -> Vec<Operation> {
    vec![
        Operation::get("/api/tasks/{id}/events", "followTask", "The journal, live.")
            .query::<events::From>()
            .header(
                "Last-Event-ID",
                "The number of the newest entry that the client has.",
                json!({"type": "integer", "format": "int64"}),
            )
            .events::<EntryView>("Server-sent events: `id` is `seq`, `event` is `kind`, `data` the entry.")
            .empty(204, "The task has ended, and the client has everything.")
            .refuses(&[404]),
        Operation::get("/api/tasks/{id}/ws", "followTaskSocket", "The journal, live, as a WebSocket.")
            .about(SOCKETS)
            .query::<events::From>()
            .frames(
                vec![of::<EntryView>, of::<Control>],
                "Entries, then a control frame that says why it ends.",
            )
            .refuses(&[404, 426]),
        Operation::get("/api/ws", "followTasksSocket", "Any number of journals on one WebSocket.")
            .about(SOCKETS)
            .dialogue(
                vec![of::<TaskFrame>, of::<Control>],
                of::<Command>,
                "Entries with their tasks, and control frames.",
            )
            .refuses(&[426]),
    ]
}

fn analytics() -> Vec<Operation> {
    const CSV: (&str, &str) = ("text/csv", "The rows, with their fields as columns.");
    let get = |path, id, summary| Operation::get(path, id, summary).query::<Window>();
    vec![
        get("/api/analytics/overview", "getOverview", "The counters of a time, and what waits now.")
            .reply::<Overview>(),
        get("/api/analytics/tasks", "getTaskSeries", "Throughput, success, durations and waits over time.")
            .reply::<TaskSeries>()
            .text(CSV.0, CSV.1),
        get("/api/analytics/durations", "getDurations", "How long things take, fail and are tried again.")
            .query::<ByTimed>()
            .reply::<DurationTable>()
            .text(CSV.0, CSV.1),
        get("/api/analytics/usage", "getUsage", "Tokens and what they cost.")
            .query::<ByConsumer>()
            .reply::<UsageTable>()
            .text(CSV.0, CSV.1),
        get("/api/analytics/failures", "getFailures", "Failures that are alike, the most frequent first.")
            .reply::<FailureTable>()
            .text(CSV.0, CSV.1),
    ]
}

fn server() -> Vec<Operation> {
    vec![
        Operation::get("/api/worker", "getWorker", "The worker of this process, and what waits.")
            .reply::<WorkerReport>(),
        Operation::get("/api/workers", "listWorkers", "All workers of the database, and what runs where.")
            .reply::<WorkerList>(),
        Operation::get("/api/tools", "listTools", "Tools with schema, effect and origin; MCP servers.")
            .without_database()
            .reply::<ToolList>(),
        Operation::post("/api/tools/{name}/call", "tryTool", "Calls a tool outside of any task.")
            .about(
                "To see what it does: the call is in no journal and nobody is asked for approval. `server.toolTrials` \
                 says which tools may be called; one that may change something needs `confirm`.",
            )
            .without_database()
            .body::<TrialWish>()
            .reply::<Trial>()
            .refuses(&[404, 409]),
        Operation::get("/api/models", "listModels", "The models that can be asked.")
            .without_database()
            .reply::<ModelList>(),
        Operation::get("/api/presets", "listPresets", "Named terms that a task may begin from.")
            .without_database()
            .reply::<PresetList>(),
        Operation::get("/api/agents", "listAgents", "Who may do the work.")
            .without_database()
            .reply::<AgentList>(),
        Operation::get("/metrics", "getMetrics", "What happened and what is, for Prometheus.")
            .text("text/plain", "The text format of Prometheus, version 0.0.4."),
        Operation::get("/healthz", "getHealth", "The process answers.")
            .open()
            .without_database()
            .reply::<Health>(),
        Operation::get("/readyz", "getReadiness", "The database answers, too, and takes what is written.").open().reply::<Health>(),
        Operation::get("/openapi.json", "getContract", "This document.")
            .open()
            .without_database()
            .reply::<Value>(),
    ]
}
