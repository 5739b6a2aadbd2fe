//! What is to be known of a tool besides its effect: where what it returns comes from, whose business
//! that is, and whether what it is told leaves the house.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Origin, ToolDescription, ToolsConfig};
use crate::task::Labels;

/// What an operator says of a toolkit, a server or a tool; what is not said stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelsConfig {
    /// Whether what it returns comes from outside.
    pub untrusted: Option<bool>,
    /// Whether what it returns is confidential.
    pub private: Option<bool>,
    /// Whether what it is told leaves the house.
    pub outward: Option<bool>,
}

impl LabelsConfig {
    fn over(self, labels: Labels) -> Labels {
        Labels {
            untrusted: self.untrusted.unwrap_or(labels.untrusted),
            private: self.private.unwrap_or(labels.private),
            outward: self.outward.unwrap_or(labels.outward),
            ..labels
        }
    }
}

/// The labels of all tools.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelRules {
    /// By toolkit, and by the full name of a tool.
    named: BTreeMap<String, LabelsConfig>,
    /// By MCP server.
    servers: BTreeMap<String, Labels>,
}

impl LabelRules {
    pub(super) fn of(config: &ToolsConfig) -> Self {
        let servers = config.mcp.iter().map(|(name, server)| {
            // Nobody knows where a server gets its answers from, or whom it tells, until somebody says so.
            let usual = Labels { untrusted: !server.trusted, outward: !server.trusted, ..Labels::default() };
            (name.clone(), server.labels.over(usual))
        });
        Self { named: config.labels.clone(), servers: servers.collect() }
    }

    /// Those of one tool: the most precise word counts.
    pub(super) fn labels(&self, tool: &ToolDescription) -> Labels {
        let mut labels = match &tool.origin {
            Origin::App { toolkit } => {
                let said = self.named.get(toolkit).copied().unwrap_or_default();
                said.over(usual(toolkit, &tool.name))
            }
            Origin::Mcp { server, .. } => self.servers.get(server).copied().unwrap_or_default(),
        };
        if let Some(said) = self.named.get(&tool.name) {
            labels = said.over(labels);
        }
        labels
    }
}

fn usual(toolkit: &str, tool: &str) -> Labels {
    match toolkit {
        // What a page says may be meant for whoever reads it, and an address can carry anything away.
        "http" => Labels { untrusted: true, outward: true, ..Labels::default() },
        "workspace" => Labels { private: tool != "workspace_write", ..Labels::default() },
        _ => Labels::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Effect;

    fn labels(config: &str, origin: Origin, name: &str) -> (bool, bool, bool) {
        let config: ToolsConfig = toml::from_str(config).unwrap();
        let (name, description) = (name.to_owned(), String::new());
        let tool =
            ToolDescription { name, description, schema: json!({}).into(), effect: Effect::Unsafe, origin };
        let Labels { untrusted, private, outward, .. } = LabelRules::of(&config).labels(&tool);
        (untrusted, private, outward)
    }

    fn app(toolkit: &str) -> Origin {
        Origin::App { toolkit: toolkit.into() }
    }

    fn mcp() -> Origin {
        Origin::Mcp { server: "s".into(), tool: "t".into() }
    }

    #[test]
    fn what_is_built_in_has_sensible_labels() {
        assert_eq!(labels("", app("http"), "http_fetch"), (true, false, true));
        assert_eq!(labels("", app("workspace"), "workspace_read"), (false, true, false));
        assert_eq!(labels("", app("workspace"), "workspace_write"), (false, false, false));
        assert_eq!(labels("", app("clock"), "clock_now"), (false, false, false));
    }

    #[test]
    fn a_server_that_is_not_trusted_may_say_and_tell_anything() {
        let server = "[mcp.s]\ncommand = 'x'\n";
        assert_eq!(labels(server, mcp(), "s_t"), (true, false, true));
        assert_eq!(labels(&format!("{server}trusted = true"), mcp(), "s_t"), (false, false, false));
        let private = format!("{server}labels = {{ private = true, outward = false }}");
        assert_eq!(labels(&private, mcp(), "s_t"), (true, true, false));
    }

    #[test]
    fn the_most_precise_word_counts() {
        let said = "[labels]\nhttp = { untrusted = false }\nhttp_fetch = { outward = false }\ns_t = { private = true }";
        assert_eq!(labels(said, app("http"), "http_fetch"), (false, false, false));
        assert_eq!(labels(said, app("http"), "http_request"), (false, false, true));
        assert_eq!(labels(&format!("{said}\n[mcp.s]\ncommand = 'x'"), mcp(), "s_t"), (true, true, true));
        assert!(toml::from_str::<ToolsConfig>("[labels]\nhttp = { secret = true }").is_err());
    }
}
