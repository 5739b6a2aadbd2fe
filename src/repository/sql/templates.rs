//! Templates: one row for each version.

use async_trait::async_trait;
use serde_json::json;
use sqlx::Row as _;
use sqlx::types::Json;

use super::{Conn, Result, Row, Store, read, rows};
use crate::repository::{RepositoryError, TemplateVersion, Templates};
use crate::task::Template;

#[async_trait]
impl Templates for Store {
    async fn add(&self, version: &TemplateVersion) -> Result<()> {
        let mut conn = self.link().writer().await?;
        add(&mut conn, version).await
    }

    async fn get(&self, user_id: &str, name: &str, version: Option<u32>) -> Result<Option<TemplateVersion>> {
        const ONE: &str = "SELECT user_id, name, version, content, created_at FROM template \
             WHERE user_id = $1 AND name = $2 AND ($3 IS NULL OR version = $3) \
             AND content IS NOT NULL ORDER BY version DESC LIMIT 1";
        let mut conn = self.link().reader().await?;
        let conn: &mut Conn = &mut conn;
        let query = sqlx::query(ONE).bind(user_id).bind(name).bind(version.map(i64::from));
        query.fetch_optional(conn).await?.as_ref().map(template).transpose()
    }

    async fn last_version(&self, user_id: &str, name: &str) -> Result<u32> {
        const LAST: &str = "SELECT coalesce(max(version), 0) FROM template WHERE user_id = $1 AND name = $2";
        let mut conn = self.link().reader().await?;
        let conn: &mut Conn = &mut conn;
        let row = sqlx::query(LAST).bind(user_id).bind(name).fetch_one(conn).await?;
        number(row.try_get(0)?)
    }

    async fn newest(&self, user_id: &str, after: &str, limit: u32) -> Result<Vec<TemplateVersion>> {
        const NEWEST: &str = "SELECT t.user_id, t.name, t.version, t.content, t.created_at FROM template AS t \
             WHERE t.user_id = $1 AND t.name > $2 AND t.version = (SELECT max(v.version) FROM template AS v \
             WHERE v.user_id = t.user_id AND v.name = t.name) AND t.content IS NOT NULL ORDER BY t.name LIMIT $3";
        let mut conn = self.link().reader().await?;
        let conn: &mut Conn = &mut conn;
        let query = sqlx::query(NEWEST).bind(user_id).bind(after).bind(i64::from(limit));
        query.fetch_all(conn).await?.iter().map(template).collect()
    }

    async fn remove(&self, user_id: &str, name: &str) -> Result<bool> {
        const REMOVE: &str = "UPDATE template SET content = NULL \
             WHERE user_id = $1 AND name = $2 AND content IS NOT NULL";
        let mut conn = self.link().writer().await?;
        let conn: &mut Conn = &mut conn;
        let gone = sqlx::query(REMOVE).bind(user_id).bind(name).execute(conn).await?;
        Ok(gone.rows_affected() > 0)
    }
}

async fn add(conn: &mut Conn, version: &TemplateVersion) -> Result<()> {
    const ADD: &str = concat!(
        "INSERT INTO template (user_id, name, version, content, created_at) ",
        "SELECT user_id, name, version, content, created_at FROM ",
        rows!("$1"; user_id text, name text, version bigint, content json, created_at time),
        " WHERE true ON CONFLICT (user_id, name, version) DO NOTHING"
    );
    let row = json!({
        "user_id": version.user_id, "name": version.template.name, "version": version.version,
        "content": version.template, "created_at": version.created_at,
    });
    let row = rows::text(&[row]).map_err(rows::unwritable)?;
    let added = sqlx::query(ADD).bind(row).execute(conn).await?;
    if added.rows_affected() == 1 { Ok(()) } else { Err(RepositoryError::Stale) }
}

fn number(version: i64) -> Result<u32> {
    u32::try_from(version).map_err(|error| RepositoryError::Corrupt { what: format!("a template: {error}") })
}

fn template(row: &Row) -> Result<TemplateVersion> {
    let version: i64 = row.try_get("version")?;
    let Json(template): Json<Template> = row.try_get("content")?;
    Ok(TemplateVersion {
        user_id: row.try_get("user_id")?,
        version: number(version)?,
        created_at: read::time_in(row, "created_at")?.unwrap_or_default(),
        template,
    })
}
