//! One line of a journal: an event with its number, its epoch and its time.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Event, Timestamp};

/// One line of a task's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number within the task: 1, 2, 3, … in commit order, without gaps.
    pub seq: i64,
    /// The epoch of the lease under which it was written; never falls.
    pub epoch: i64,
    /// When it was written, by the clock of its writer.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Whether two entries of one task say the same, under the same number and at the same moment. Two
    /// people may have said it: that the database took one of them does not tell whose it is.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |entry: &Self| (entry.seq, entry.epoch, entry.at, entry.event.kind());
        let content = |entry: &Self| serde_json::to_value(&entry.event).ok();
        place(self) == place(other)
            && content(self).zip(content(other)).is_some_and(|(one, other)| is_alike(&one, &other))
    }
}

/// Whether two values are the same for whom a number is one however a database writes it.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_in = |(name, value)| other.get(name).is_some_and(|found| is_alike(value, found));
            one.len() == other.len() && one.iter().all(is_in)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(by: &str) -> Entry {
        let event = Event::Cancelled { by: by.to_owned() };
        Entry { seq: 7, epoch: 1, at: Timestamp::from_millis(5), event }
    }

    #[test]
    fn words_of_others_at_the_same_moment_are_other_entries() {
        assert!(told("one").is_same(&told("one")));
        assert!(!told("one").is_same(&told("two")));
        assert!(!told("one").is_same(&Entry { seq: 8, ..told("one") }));
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert!(is_alike(&read(r#"{"a": [1e2, 0.5], "b": 1}"#), &read(r#"{"b": 1.0, "a": [100, 0.50]}"#)));
        assert!(!is_alike(&read("[1, 2]"), &read("[1]")) && !is_alike(&read("1"), &read("\"1\"")));
        assert!(!is_alike(&read(r#"{"a": 1}"#), &read(r#"{"b": 1}"#)));
    }
}
