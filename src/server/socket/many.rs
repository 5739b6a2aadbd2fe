//! A WebSocket on which a client follows the tasks that it names.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::ws::{Utf8Bytes, WebSocket};
use futures::stream::{AbortHandle, Abortable, BoxStream, SelectAll, abortable, unfold};
use futures::{StreamExt, stream};

use super::connection::{AWAY, Connection, Gone, TRY_AGAIN};
use super::frames::{Command, Control, TaskFrame};
use super::summaries::Told;
use crate::server::auth::Caller;
use crate::server::error::ApiError;
use crate::server::follow::{Follower, Next, Slow};
use crate::server::parse;
use crate::server::state::AppState;
use crate::task::TaskId;

/// Tasks that one client follows at once.
const MOST: usize = 500;

/// What happens on one of the streams of a connection.
enum Happened {
    /// A frame is to be sent.
    Frame(Utf8Bytes),
    /// The last frame of a task is to be sent.
    Over(TaskId, Utf8Bytes),
    /// Summaries came faster than they were read.
    SummariesLost,
}

struct Subscriptions {
    state: AppState,
    caller: Caller,
    streams: SelectAll<Abortable<BoxStream<'static, Happened>>>,
    tasks: HashMap<TaskId, AbortHandle>,
    summaries: Option<AbortHandle>,
}

/// Does what the client says and tells what it follows, until it goes.
pub(super) async fn run(socket: WebSocket, state: AppState, caller: Caller) {
    let heartbeat = Duration::from_millis(state.config.heartbeat_ms);
    let mut connection = Connection::over(socket, heartbeat);
    let shutdown = state.shutdown.clone();
    let mut subscriptions = Subscriptions {
        state,
        caller,
        // A stream that is never ready: a selection of nothing would be at its end.
        streams: SelectAll::from_iter([abortable(stream::pending().boxed()).0]),
        tasks: HashMap::new(),
        summaries: None,
    };
    loop {
        let went = tokio::select! {
            () = shutdown.cancelled() => {
                connection.close(AWAY, "the server shuts down").await;
                return;
            }
            said = connection.next() => match said {
                Ok(text) => subscriptions.obey(&mut connection, &text).await,
                Err(gone) => Err(gone),
            },
            Some(happened) = subscriptions.streams.next() => match happened {
                Happened::Frame(text) => connection.send(text).await,
                Happened::Over(id, text) => {
                    subscriptions.tasks.remove(&id);
                    connection.send(text).await
                }
                Happened::SummariesLost => {
                    connection.close(TRY_AGAIN, "resync").await;
                    return;
                }
            },
        };
        if went.is_err() {
            return;
        }
    }
}

impl Subscriptions {
    /// Does what the client says.
    async fn obey(&mut self, connection: &mut Connection, text: &Utf8Bytes) -> Result<(), Gone> {
        let command = match parse::json::<Command>(text.as_bytes()) {
            Ok(command) => command,
            Err(refusal) => return connection.send(Control::refused(None, refusal).text()).await,
        };
        match command {
            Command::Subscribe { task_id, after } => {
                let answer = match self.subscribe(&task_id, after.unwrap_or(0)).await {
                    Ok(subscribed) => subscribed,
                    Err(refusal) => Control::refused(Some(task_id), refusal),
                };
                connection.send(answer.text()).await
            }
            Command::Unsubscribe { task_id } => {
                let handle = task_id.parse().ok().and_then(|id: TaskId| self.tasks.remove(&id));
                handle.into_iter().for_each(|handle| handle.abort());
                Ok(())
            }
            Command::SubscribeTasks => self.subscribe_summaries(connection).await,
            Command::UnsubscribeTasks => {
                self.summaries.take().into_iter().for_each(|handle| handle.abort());
                Ok(())
            }
        }
    }

    /// Follows a task; anew, if it was followed already.
    async fn subscribe(&mut self, id: &str, after: i64) -> Result<Control, ApiError> {
        let task = self.state.task_of(&self.caller, id).await?;
        if self.tasks.len() >= MOST && !self.tasks.contains_key(&task.id) {
            let problem = format!("at most {MOST} tasks are followed at once: unsubscribe from some");
            return Err(ApiError::invalid("taskId", &problem));
        }
        let follower = Follower::new(&self.state.feeds, &task, after, Slow::MustGo);
        let handle = self.follow(entries(follower).boxed());
        let before = self.tasks.insert(task.id, handle);
        before.into_iter().for_each(|handle| handle.abort());
        Ok(Control::Subscribed { task_id: task.id, seq: task.state().seq })
    }

    async fn subscribe_summaries(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        let (tasks, told) = match self.state.summaries.follow(&self.caller.0).await {
            Ok(followed) => followed,
            Err(refusal) => return connection.send(Control::refused(None, refusal.into()).text()).await,
        };
        let changes = unfold(told, |mut told| async {
            let happened = match told.next().await {
                Told::Frame(text) => Happened::Frame(text),
                Told::Lost => Happened::SummariesLost,
            };
            Some((happened, told))
        });
        let before = self.summaries.take();
        before.into_iter().for_each(|handle| handle.abort());
        self.summaries = Some(self.follow(changes.boxed()));
        connection.send(Control::Tasks { tasks }.text()).await
    }

    fn follow(&mut self, stream: BoxStream<'static, Happened>) -> AbortHandle {
        let (stream, handle) = abortable(stream);
        self.streams.push(stream);
        handle
    }
}

/// The entries of a task as frames, and why there are no more.
fn entries(follower: Follower) -> impl futures::Stream<Item = Happened> {
    unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        let next = follower.next().await;
        let (task_id, seq) = (follower.id(), follower.after());
        let over = |control: Control| Some((Happened::Over(task_id, control.text()), None));
        match next {
            Next::Note(note) => Some((Happened::Frame(TaskFrame::text(task_id, &note)), Some(follower))),
            Next::Said(piece) => Some((Happened::Frame(piece.json.clone()), Some(follower))),
            Next::Ended => over(Control::Ended { task_id, seq }),
            Next::Behind => over(Control::Resync { task_id, seq }),
            Next::Cut => over(Control::Cut { task_id, seq }),
        }
    })
}
