//! What models are saying at this moment, for those who watch them work.
//!
//! Hints and nothing else: they stay within this process, are written nowhere, and are lost to
//! whoever does not listen. What was said is told by the journal once the answer is complete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::models::Heard;
use crate::task::TaskId;

/// Pieces that a listener may be behind before it misses some.
const WAITING: usize = 256;

/// What is remembered of a part of an answer for those who come late, in bytes. Whoever comes even
/// later hears the rest only.
const REMEMBERED: usize = 64 * 1024;

/// What a model says: the answer itself, or what leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The answer's text.
    Text,
    /// The model's visible reasoning.
    Reasoning,
}

/// A model call inside a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Speaking {
    /// The task.
    pub task_id: TaskId,
    /// The step's index.
    pub step: u32,
    /// The call's number within the step.
    pub call: u32,
    /// The attempt at the call, from 1.
    pub attempt: u32,
}

/// A piece of what a model says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Where it is said.
    #[serde(flatten)]
    pub speaking: Speaking,
    /// From 1. A higher one begins the answer anew: another model was asked after one had failed.
    pub round: u32,
    /// Of what.
    pub part: Part,
    /// How many pieces of this part come before it.
    pub from: u32,
    /// How many there are with it: several, for one who came late.
    pub to: u32,
    /// The text.
    pub text: String,
}

/// What is being said in this process. Cheap to clone; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Speech(Arc<Mutex<HashMap<TaskId, Room>>>);

/// One task: its open answers, and those who listen.
#[derive(Debug, Default)]
struct Room {
    open: Vec<Open>,
    listeners: Option<Sender<Said>>,
}

/// An answer that is not complete.
#[derive(Debug)]
struct Open {
    speaking: Speaking,
    round: u32,
    text: Remembered,
    reasoning: Remembered,
}

#[derive(Debug, Default)]
struct Remembered {
    /// The number of the first piece that is remembered.
    from: u32,
    to: u32,
    text: String,
}

/// Says one answer. When it is dropped, the answer is complete, or has failed.
#[derive(Debug)]
pub(crate) struct Speaker {
    speech: Speech,
    speaking: Speaking,
}

impl Speech {
    /// Whatever is said in a task from now on.
    pub fn listen(&self, task: TaskId) -> Receiver<Said> {
        let mut rooms = self.rooms();
        rooms.retain(|_, room| !room.is_empty());
        rooms.entry(task).or_default().listeners.get_or_insert_with(|| channel(WAITING).0).subscribe()
    }

    /// What was said of the answers that are not complete yet.
    pub fn so_far(&self, task: TaskId) -> Vec<Said> {
        let rooms = self.rooms();
        let open = rooms.get(&task).map_or(&[][..], |room| &room.open);
        open.iter().flat_map(Open::so_far).collect()
    }

    /// A model begins to answer.
    pub(crate) fn begin(&self, speaking: Speaking) -> Speaker {
        let (text, reasoning) = Default::default();
        let open = Open { speaking, round: 1, text, reasoning };
        self.rooms().entry(speaking.task_id).or_default().open.push(open);
        Speaker { speech: self.clone(), speaking }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<TaskId, Room>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.listeners.as_ref().is_none_or(|sender| sender.receiver_count() == 0)
    }
}

impl Open {
    fn so_far(&self) -> Vec<Said> {
        let parts = [(Part::Reasoning, &self.reasoning), (Part::Text, &self.text)];
        let said = parts.into_iter().filter(|(_, remembered)| !remembered.text.is_empty());
        said.map(|(part, remembered)| Said {
            speaking: self.speaking,
            round: self.round,
            part,
            from: remembered.from,
            to: remembered.to,
            text: remembered.text.clone(),
        })
        .collect()
    }

    /// The next piece of a part.
    fn next(&mut self, part: Part, text: &str) -> Said {
        let remembered = match part {
            Part::Text => &mut self.text,
            Part::Reasoning => &mut self.reasoning,
        };
        let from = remembered.to;
        remembered.to = from.saturating_add(1);
        remembered.text.push_str(text);
        let to = remembered.to;
        if remembered.text.len() > REMEMBERED {
            *remembered = Remembered { from: to, to, text: String::new() };
        }
        Said { speaking: self.speaking, round: self.round, part, from, to, text: text.to_owned() }
    }
}

impl Speaker {
    /// Lets those who listen hear it.
    pub(crate) fn say(&self, heard: Heard<'_>) {
        let mut rooms = self.speech.rooms();
        let Some(room) = rooms.get_mut(&self.speaking.task_id) else { return };
        let Some(open) = room.open.iter_mut().find(|open| open.speaking == self.speaking) else { return };
        let said = match heard {
            Heard::Text(text) => open.next(Part::Text, text),
            Heard::Reasoning(text) => open.next(Part::Reasoning, text),
            Heard::Anew => {
                (open.round, open.text, open.reasoning) = (open.round + 1, <_>::default(), <_>::default());
                return;
            }
        };
        if let Some(listeners) = &room.listeners {
            // Nobody listening is fine.
            let _ = listeners.send(said);
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let mut rooms = self.speech.rooms();
        let Some(room) = rooms.get_mut(&self.speaking.task_id) else { return };
        room.open.retain(|open| open.speaking != self.speaking);
        if room.is_empty() {
            rooms.remove(&self.speaking.task_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const TASK: TaskId = TaskId(Uuid::nil());
    const HERE: Speaking = Speaking { task_id: TASK, step: 2, call: 1, attempt: 1 };

    #[tokio::test]
    async fn who_comes_late_hears_what_was_said_and_then_the_rest() {
        let speech = Speech::default();
        let speaker = speech.begin(HERE);
        speaker.say(Heard::Text("one "));
        speaker.say(Heard::Text("two "));
        let mut listener = speech.listen(TASK);
        let so_far = speech.so_far(TASK);
        assert_eq!((so_far[0].text.as_str(), so_far[0].from, so_far[0].to), ("one two ", 0, 2));
        speaker.say(Heard::Text("three"));
        let said = listener.recv().await.unwrap();
        assert_eq!((said.text.as_str(), said.from, said.to, said.round), ("three", 2, 3, 1));
    }

    #[tokio::test]
    async fn another_model_begins_the_answer_anew() {
        let speech = Speech::default();
        let mut listener = speech.listen(TASK);
        let speaker = speech.begin(HERE);
        speaker.say(Heard::Reasoning("hm"));
        speaker.say(Heard::Anew);
        speaker.say(Heard::Text("yes"));
        assert_eq!(listener.recv().await.unwrap().part, Part::Reasoning);
        let said = listener.recv().await.unwrap();
        assert_eq!((said.round, said.from, said.part), (2, 0, Part::Text));
        assert_eq!(speech.so_far(TASK).len(), 1);
    }

    #[test]
    fn nothing_is_kept_of_a_complete_answer() {
        let speech = Speech::default();
        let speaker = speech.begin(HERE);
        speaker.say(Heard::Text(&"long ".repeat(REMEMBERED / 5)));
        assert_eq!(speech.so_far(TASK).len(), 1);
        speaker.say(Heard::Text("too long"));
        assert!(speech.so_far(TASK).is_empty(), "only so much is remembered");
        drop(speaker);
        assert!(speech.rooms().is_empty());
    }

    #[test]
    fn answers_of_one_task_do_not_mix() {
        let speech = Speech::default();
        let other = Speaking { step: 3, ..HERE };
        let (one, two) = (speech.begin(HERE), speech.begin(other));
        one.say(Heard::Text("a"));
        two.say(Heard::Text("b"));
        drop(one);
        let left = speech.so_far(TASK);
        assert_eq!((left.len(), left[0].speaking, left[0].text.as_str()), (1, other, "b"));
    }
}
