//! Templates: written once for each version, never changed.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use super::RepositoryError;
use crate::task::{Template, Timestamp};

/// One version of a template, as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVersion {
    /// Whose it is.
    pub user_id: String,
    /// 1 for the first, then one more each time.
    pub version: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// What was written.
    #[serde(flatten)]
    pub template: Template,
}

/// Where templates live: a part of [`Repository`](super::Repository).
#[async_trait]
pub trait Templates: Send + Sync {
    /// Writes a version. Fails with [`RepositoryError::Stale`] if there is one of this number: read
    /// which is the newest.
    async fn add(&self, version: &TemplateVersion) -> Result<(), RepositoryError>;

    /// The version with this number, or the newest one if none is given.
    async fn get(
        &self,
        user_id: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<TemplateVersion>, RepositoryError>;

    /// The number of the last version of a template that was written, removed or not; 0 if none was.
    async fn last_version(&self, user_id: &str, name: &str) -> Result<u32, RepositoryError>;

    /// The newest version of each template whose name comes behind `after`, by name, at most
    /// `limit`.
    async fn newest(
        &self,
        user_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<TemplateVersion>, RepositoryError>;

    /// Forgets all versions of a template but their numbers, which name what tasks were made from;
    /// those stay. False if there is none.
    async fn remove(&self, user_id: &str, name: &str) -> Result<bool, RepositoryError>;
}
