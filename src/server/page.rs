//! Lists in pieces: how much one answer has, and where the next one begins.

use std::str::FromStr;

use super::error::ApiError;

/// How much one answer has if nobody says how much, and at most.
pub(super) const USUAL: u32 = 100;
pub(super) const MOST: u32 = 1000;

/// How much one answer has at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit(pub(super) u32);

impl Limit {
    /// What is asked for, or the usual.
    pub(super) fn of(asked: Option<u32>) -> Result<Self, ApiError> {
        Self::or(asked, USUAL)
    }

    /// What is asked for, or so much.
    pub(super) fn or(asked: Option<u32>, usual: u32) -> Result<Self, ApiError> {
        match asked.unwrap_or(usual) {
            limit @ 1..=MOST => Ok(Self(limit)),
            _ => Err(ApiError::invalid("limit", &format!("is a number from 1 to {MOST}"))),
        }
    }

    /// The last of a piece behind which there may be more.
    pub(super) fn end_of<T>(self, piece: &[T]) -> Option<&T> {
        piece.last().filter(|_| piece.len() == self.0 as usize)
    }
}

/// Before which one a piece begins: the id of a `what`.
pub(super) fn before<T: FromStr>(id: Option<String>, what: &str) -> Result<Option<T>, ApiError> {
    let id = id.map(|id| id.parse()).transpose();
    id.map_err(|_| ApiError::invalid("before", &format!("is not the id of a {what}")))
}
