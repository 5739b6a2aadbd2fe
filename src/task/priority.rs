//! How urgent a task is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// 1 (most urgent) to 5 (least); 3 where nobody says. A level is worth a fixed time of waiting
/// and not a place in front of everything: whatever waits long enough has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u8")]
pub struct Priority(u8);

/// A number that is no priority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is no priority: it is a whole number from 1 (most urgent) to 5 (least urgent)")]
pub struct InvalidPriority(String);

impl Priority {
    /// The most urgent one.
    pub const HIGHEST: Self = Self(1);
    /// The least urgent one.
    pub const LOWEST: Self = Self(5);

    /// Its number, 1 to 5.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether it is the one of tasks of which nobody said how urgent they are.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(3)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<i64> for Priority {
    type Error = InvalidPriority;

    fn try_from(number: i64) -> Result<Self, InvalidPriority> {
        match u8::try_from(number) {
            Ok(level) if (Self::HIGHEST.0..=Self::LOWEST.0).contains(&level) => Ok(Self(level)),
            _ => Err(InvalidPriority(number.to_string())),
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = InvalidPriority;

    fn from_str(text: &str) -> Result<Self, InvalidPriority> {
        text.parse::<i64>().map_err(|_| InvalidPriority(text.to_owned())).and_then(Self::try_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_and_one_is_the_most_urgent() {
        assert!(Priority::HIGHEST < Priority::default() && Priority::default() < Priority::LOWEST);
        for number in [0, 6, -1, 258] {
            assert!(Priority::try_from(number).is_err(), "{number}");
        }
        assert_eq!("2".parse::<Priority>().map(Priority::number), Ok(2));
        assert!("urgent".parse::<Priority>().unwrap_err().to_string().contains("from 1 (most urgent)"));
        assert_eq!(serde_json::to_string(&Priority::default()).unwrap(), "3");
        assert!(serde_json::from_str::<Priority>("9").is_err());
    }
}
