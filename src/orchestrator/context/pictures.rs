//! The pictures that a prompt begins with: the newest of those that go with messages, as far as there is room.

use std::fmt::Write as _;

use super::super::messages::Written;
use super::{Orchestrator, OrchestratorError};
use crate::models::{PICTURE_BYTES, Picture};
use crate::task::{ShownPicture, Task};

/// A picture of a task: the entry of the message that it goes with, and its place among those of it.
type At = (i64, u32);

/// Those that are shown in so many bytes, oldest first.
pub(super) fn newest(messages: &[Written], room: usize) -> Vec<At> {
    let (mut left, mut shown) = (room, Vec::new());
    for (at, picture) in messages.iter().rev().flat_map(|written| placed(written).rev()) {
        let Some(rest) = left.checked_sub(PICTURE_BYTES + picture.name.len()) else { break };
        left = rest;
        shown.push(at);
    }
    shown.reverse();
    shown
}

/// The words of messages, each with what is said of the pictures that go with it.
pub(super) fn told(messages: &[Written], shown: &[At]) -> Vec<(i64, String)> {
    let told = |written: &Written| {
        let mut text = written.text.clone();
        for (at, picture) in placed(written) {
            let name = if picture.name.is_empty() { "without a name" } else { &picture.name };
            let is_shown = if shown.contains(&at) { "shown below" } else { "not shown, for want of room" };
            let _ = write!(text, "\n[a picture: {name}, {is_shown}]");
        }
        (written.seq, text)
    };
    messages.iter().map(told).collect()
}

fn placed(written: &Written) -> impl DoubleEndedIterator<Item = (At, &ShownPicture)> {
    let places = 0..written.pictures.len() as u32;
    places.zip(&written.pictures).map(|(place, picture)| ((written.seq, place), picture))
}

impl Orchestrator {
    /// The pictures of a task that are at these places.
    pub(super) async fn pictures_at(
        &self,
        task: &Task,
        places: &[At],
    ) -> Result<Vec<Picture>, OrchestratorError> {
        let mut pictures = Vec::with_capacity(places.len());
        for of_message in places.chunk_by(|one, other| one.0 == other.0) {
            let Some((seq, _)) = of_message.first() else { continue };
            let Some(written) = self.message(task.id, *seq).await? else { continue };
            for (_, place) in of_message {
                let Some(shown) = written.pictures.get(*place as usize) else { continue };
                pictures.push(self.picture(shown).await?);
            }
        }
        Ok(pictures)
    }

    /// What a planner is shown of a task: the newest pictures in so many bytes.
    pub(in crate::orchestrator) async fn pictures_of(
        &self,
        task: &Task,
        room: usize,
    ) -> Result<Vec<Picture>, OrchestratorError> {
        let messages = self.messages_until(task, i64::MAX).await?;
        self.pictures_at(task, &newest(&messages, room)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Payload;

    fn written(seq: i64, names: &[&str]) -> Written {
        let picture = |name: &&str| ShownPicture {
            name: (*name).to_owned(),
            media_type: "image/png".to_owned(),
            content: Payload::text("AAAA"),
        };
        Written { seq, text: "See".to_owned(), pictures: names.iter().map(picture).collect() }
    }

    #[test]
    fn the_newest_pictures_are_shown_and_the_others_named() {
        let messages = [written(3, &["a", "b"]), written(5, &[]), written(9, &["c", ""])];
        let shown = newest(&messages, 3 * (PICTURE_BYTES + 1));
        assert_eq!(shown, [(3, 1), (9, 0), (9, 1)]);
        let told = told(&messages, &shown);
        assert_eq!(
            told[0],
            (3, "See\n[a picture: a, not shown, for want of room]\n[a picture: b, shown below]".to_owned())
        );
        assert_eq!(told[1], (5, "See".to_owned()));
        assert!(told[2].1.ends_with("[a picture: without a name, shown below]"), "{told:?}");
        assert!(newest(&messages, PICTURE_BYTES - 1).is_empty());
    }
}
