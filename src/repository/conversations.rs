//! Conversations as a whole: found, listed, renamed, forgotten.

use async_trait::async_trait;

use super::{Message, RepositoryError, Thread};

/// What a task needs of conversations.
#[async_trait]
pub trait Threads: Send + Sync {
    /// Makes a conversation known, or returns it as it is. `title` is for a new one.
    async fn open_thread(&self, id: &str, user_id: &str, title: &str) -> Result<Thread, RepositoryError>;

    /// The conversation with this id.
    async fn thread(&self, id: &str) -> Result<Option<Thread>, RepositoryError>;

    /// Stores a message of a conversation; the same id again changes its parts.
    async fn put_message(&self, message: &Message) -> Result<(), RepositoryError>;

    /// The newest messages of a conversation, oldest of them first, at most `limit`.
    async fn messages(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>, RepositoryError>;
}

/// What is asked of conversations beyond what a task needs of them.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// The newest message with this id, in whatever conversation; one that was replaced counts too.
    async fn message(&self, id: &str) -> Result<Option<Message>, RepositoryError>;

    /// The newest answers of a conversation that name no task, oldest of them first, at most `limit`; those that
    /// were put aside or replaced count too.
    async fn without_task(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>, RepositoryError>;

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

    /// Stores a message without making it one of its conversation's: the answer to a message that is
    /// answered anew, until [`Conversations::answer_anew`] gives it its place. The same id again changes
    /// the parts.
    async fn put_aside(&self, message: &Message) -> Result<(), RepositoryError>;

    /// Answers a message anew, all at once: the question says what it says here and names the task that
    /// is named here or none, the answer is one of the messages of the conversation, and what stood
    /// between them is not any more. It stays stored. Returns how many messages that were.
    async fn answer_anew(&self, question: &Message, answer: &Message) -> Result<u64, RepositoryError>;
}
