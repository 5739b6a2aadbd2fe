//! The specification in code: what a task is and how it may change.
//!
//! Nothing here is asynchronous, reads a clock, rolls dice or does I/O: the caller passes
//! the time and the random number in. [`Task::apply`] is the only place where the state of
//! a task changes; every store, every recovery and every test folds that one function.
//!
//! ```text
//! events ──apply──▶ Task ──next(now)──▶ Next (run these steps │ wait │ revise │ conclude │ rest)
//! ```

mod account;
mod apply;
mod apply_call;
mod approval;
mod ask;
mod budget;
mod call;
mod check;
mod checkpoint;
mod child;
mod condition;
mod depth;
mod effect;
mod effects;
mod entry;
mod event;
mod event_content;
mod event_kind;
mod event_message;
mod exceeded;
mod fan_out;
mod fault;
mod fork;
mod frozen;
mod ledger;
mod limits;
mod model_name;
mod next;
mod payload;
mod plan;
mod plan_error;
mod plan_file;
mod priority;
mod recording;
mod reference;
mod repeated;
mod replay;
mod retry;
mod schema;
mod secret_reference;
mod shown_picture;
mod spec;
mod state;
mod status;
mod step;
mod taint;
mod template;
mod time;
mod usage;
mod usd;
mod view;
mod wording;

#[cfg(test)]
mod budget_properties;
#[cfg(test)]
mod fork_properties;
#[cfg(test)]
mod properties;

pub use apply::{Illegal, Task};
pub use approval::{ApprovalPolicy, ApprovalWish, OnExpiry};
pub use ask::{Ask, AskKind, Asking, PlanAsk, outcome_question};
pub use budget::{Budget, Reserve, Resource, Spent, TopUp};
pub use call::{
    CUT_SHORT, Call, CallState, CallSubject, Noticed, Opening, RecordedRequest, ToolChange, ToolNotice,
    ToolRequest,
};
pub use check::{
    Check, CheckDecision, CheckKind, Claim, Evidence, Standing, UNVERIFIED, Verdict, Verification,
};
pub use checkpoint::Return;
pub use child::{Child, Parent};
pub use condition::Condition;
pub use depth::{MAX_DEPTH, TOO_DEEP, is_text_too_deep, is_too_deep};
pub use effect::Effect;
pub use effects::{EffectRecord, EffectState, Effects};
pub use entry::Entry;
pub use event::Event;
pub use event_kind::TraceType;
pub use event_message::FROM_FILE;
pub use exceeded::Exceeded;
pub use fan_out::{FannedItem, ForEach, Item};
pub use fault::{
    CIRCUIT_OPEN, CONTEXT_OVERFLOW, Fault, FaultClass, HELD_BACK, NO_PROGRESS, with_causes, words_of,
};
pub use fork::{CallAt, Cut, ForkError, ForkPoint, Inheritance, inherit};
pub use frozen::{FrozenAt, FrozenTool, FrozenTools};
pub use ledger::{Consumed, Ledger};
pub use limits::Limits;
pub use model_name::{InvalidModelName, ModelName};
pub use next::Next;
pub use payload::{Blob, BlobHash, Payload, as_text};
pub use plan::{Ground, Plan, PlannedStep, Planner, ToolUse};
pub(crate) use plan::{is_taken, outputs_used};
pub use plan_error::{PlanError, StepProblem};
pub(crate) use plan_file::keys_of_step;
pub use priority::{InvalidPriority, Priority};
pub use recording::{Recording, RecordingError, RecordingText, unpack_recording};
pub use reference::{Known, data_of, is_literal, is_open, json_in, outputs_in};
pub use replay::{Divergence, Place, Replay};
pub use retry::RetryPolicy;
pub use secret_reference::{SECRET, secrets_in, unmarked};
pub use shown_picture::{PictureInShort, ShownPicture};
pub(crate) use spec::object;
pub use spec::{AllowedTools, Mention, TaskSpec, ToolAllowance};
pub use state::{State, Summary};
pub use status::{Pause, PauseReason, Status};
pub use step::{Digest, Step, StepStatus, StepType};
pub use taint::{Labels, Source, Taint, WhenTainted};
pub use template::{Template, TemplateRef, is_parameter_name};
pub use time::Timestamp;
pub(crate) use usage::counted;
pub use usage::{Usage, grouped};
pub use usd::Usd;
pub use view::{Prompt, View};
pub(crate) use wording::{plainly, read as read_json};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one task: a UUID, version 7 when Longhaul makes it, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = uuid::Error;

    /// Reads the hyphenated or the plain form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}
