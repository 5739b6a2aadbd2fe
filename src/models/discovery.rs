//! Finds a running Ollama and one of its models.

use std::time::Duration;

use serde::Deserialize;

/// How long a local server may take to say that it is there: nobody wants to wait at every
/// start for a server that does not exist.
const PATIENCE: Duration = Duration::from_millis(300);

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

/// The first model at `tags_url` that can answer; `None` if no Ollama is there in time.
pub(super) async fn first_model(http: &reqwest::Client, tags_url: &str) -> Option<String> {
    let response = http.get(tags_url).timeout(PATIENCE).send().await.ok()?;
    let tags: Tags = response.error_for_status().ok()?.json().await.ok()?;
    // Embedding models are listed among the others and cannot answer.
    tags.models.into_iter().map(|tag| tag.name).find(|name| !name.contains("embed"))
}
