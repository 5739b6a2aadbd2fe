//! What time it is.

use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Early, Operation};
use crate::task::Effect;
use crate::tools::CallContext;

/// `clock_now`.
pub(super) struct Now;

/// Nothing needs to be said.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {}

#[async_trait]
impl Operation for Now {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "clock";
    const NAME: &'static str = "clock_now";
    const DESCRIPTION: &'static str =
        "Tells the current date and time: `utc` as ISO 8601 and `unixMillis` as a number.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, _: Arguments, _: CallContext) -> Result<Value, Early> {
        let now = Utc::now();
        Ok(json!({
            "utc": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "unixMillis": now.timestamp_millis(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::{built_in, tests::context};
    use super::*;

    #[tokio::test]
    async fn both_forms_name_the_same_moment() {
        let now = built_in(Now).call(json!({}), context()).await.unwrap().content;
        let text = now["utc"].as_str().unwrap();
        assert!(text.ends_with('Z'));
        let parsed = DateTime::parse_from_rfc3339(text).unwrap();
        assert_eq!(json!(parsed.timestamp_millis()), now["unixMillis"]);
    }
}
