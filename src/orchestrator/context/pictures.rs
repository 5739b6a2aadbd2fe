//! The pictures that a prompt begins with: the newest of those that go with messages, as far as there is room.

use std::fmt::Write as _;

use super::super::messages::Written;
use super::{Orchestrator, OrchestratorError};
use crate::models::Picture;
use crate::task::{ShownPicture, Task};

/// A picture of a task: the entry of the message that it goes with, and its place among those of it.
type At = (i64, u32);

/// Those that are shown in so many bytes, oldest first.
pub(super) fn newest(messages: &[Written], room: usize) -> Vec<At> {
    let all = messages.iter().flat_map(placed);
    let shown = newest_within(all, |(_, picture)| Picture::bytes_of(&picture.name), room);
    shown.into_iter().map(|(at, _)| at).collect()
}

/// The last of some pictures that fit into so many bytes together, in their order.
pub(in crate::orchestrator) fn newest_within<T>(
    pictures: impl DoubleEndedIterator<Item = T>,
    bytes: impl Fn(&T) -> usize,
    room: usize,
) -> Vec<T> {
    let mut left = room;
    let fitting = pictures.rev().map_while(|picture| {
        left = left.checked_sub(bytes(&picture))?;
        Some(picture)
    });
    let mut newest: Vec<T> = fitting.collect();
    newest.reverse();
    newest
}

/// The words of messages, each with what is said of the pictures that go with it.
pub(super) fn told(messages: &[Written], shown: &[At]) -> Vec<(i64, String)> {
    let told = |written: &Written| {
        let mut text = written.text.clone();
        for (at, picture) in placed(written) {
            let how = if shown.contains(&at) { "shown below" } else { NO_ROOM };
            let _ = write!(text, "\n{}", in_words(picture, how));
        }
        (written.seq, text)
    };
    messages.iter().map(told).collect()
}

/// What a message says of those of its pictures that are not shown beside it; the newest of them are.
pub(crate) fn beside(written: &Written, room: usize) -> (Vec<String>, &[ShownPicture]) {
    let shown = newest(std::slice::from_ref(written), room).len();
    let (left, shown) = written.pictures.split_at(written.pictures.len() - shown);
    (left.iter().map(|picture| in_words(picture, NO_ROOM)).collect(), shown)
}

const NO_ROOM: &str = "not shown, for want of room";

fn in_words(picture: &ShownPicture, how: &str) -> String {
    let name = if picture.name.is_empty() { "without a name" } else { &picture.name };
    format!("[a picture: {name}, {how}]")
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
        let mut messages = Vec::new();
        for of_message in places.chunk_by(|one, other| one.0 == other.0) {
            let Some((seq, _)) = of_message.first() else { continue };
            messages.extend(self.message(task.id, *seq).await?);
        }
        self.pictures_among(&messages, places).await
    }

    /// The pictures that are at these places among those of some messages.
    pub(super) async fn pictures_among(
        &self,
        messages: &[Written],
        places: &[At],
    ) -> Result<Vec<Picture>, OrchestratorError> {
        let mut pictures = Vec::with_capacity(places.len());
        for (at, shown) in messages.iter().flat_map(placed) {
            if places.contains(&at) {
                pictures.push(self.picture(shown).await?);
            }
        }
        Ok(pictures)
    }

    /// What a planner is shown of messages: the newest pictures in so many bytes.
    pub(in crate::orchestrator) async fn newest_pictures(
        &self,
        messages: &[Written],
        room: usize,
    ) -> Result<Vec<Picture>, OrchestratorError> {
        self.pictures_among(messages, &newest(messages, room)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::PICTURE_BYTES;
    use crate::task::Payload;

    fn written(seq: i64, names: &[&str]) -> Written {
        let picture = |name: &&str| ShownPicture {
            name: (*name).to_owned(),
            media_type: "image/png".to_owned(),
            content: Payload::text("AAAA"),
        };
        let pictures = names.iter().map(picture).collect();
        Written { seq, text: "See".to_owned(), pictures, by: "somebody".to_owned() }
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
        let (left, beside) = beside(&messages[0], PICTURE_BYTES + 1);
        assert_eq!(
            (left, beside[0].name.as_str()),
            (vec!["[a picture: a, not shown, for want of room]".to_owned()], "b")
        );
    }
}
