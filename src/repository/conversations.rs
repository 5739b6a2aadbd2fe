//! Conversations as a whole: found, listed, renamed, forgotten.

use async_trait::async_trait;

use super::{Message, RepositoryError, Thread};

/// What is asked of conversations beyond what a task needs of them.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// The newest message with this id, in whatever conversation; one that was replaced counts too.
    async fn message(&self, id: &str) -> Result<Option<Message>, RepositoryError>;

    /// Conversations of a user, the one that was written to last first, at most `limit`: those behind
    /// the one with the id `behind`, if it is named.
    async fn threads(
        &self,
        user_id: &str,
        behind: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Thread>, RepositoryError>;

    /// Gives a conversation another title. False if there is none.
    async fn rename(&self, id: &str, title: &str) -> Result<bool, RepositoryError>;

    /// Forgets a conversation with its messages; its tasks stay. False if there is none.
    async fn forget(&self, id: &str) -> Result<bool, RepositoryError>;

    /// Takes the messages behind this one out of a conversation, for it is answered anew: they stay
    /// stored and are not among its messages any more. Returns how many they were.
    async fn replace_behind(&self, thread_id: &str, message_id: &str) -> Result<u64, RepositoryError>;
}
