//! What a server's tool is called here, and what it is taken to do to the world.

use rmcp::model::ToolAnnotations;
use sha2::{Digest, Sha256};

use crate::task::Effect;
use crate::tools::McpServerConfig;

/// What all providers accept as a tool's name.
const MAX_CHARACTERS: usize = 64;
/// Digits of the hash that keeps cut names apart.
const HASH_CHARACTERS: usize = 8;

/// `{server}_{tool}` in letters, digits, `_` and `-`. A name that is too long is cut and ends
/// in a hash of the whole, so that two long names stay two.
pub(super) fn full_name(server: &str, tool: &str) -> String {
    let whole = format!("{server}_{tool}");
    let name = simple(&whole);
    if name.len() <= MAX_CHARACTERS {
        return name;
    }
    let digest = Sha256::digest(whole.as_bytes());
    let hash: String = digest.iter().take(HASH_CHARACTERS / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{}_{hash}", &name[..MAX_CHARACTERS - HASH_CHARACTERS - 1])
}

/// Whether a tool of this server may have this full name.
pub(super) fn may_name(server: &str, full_name: &str) -> bool {
    let beginning = simple(server);
    let kept = beginning.len().min(MAX_CHARACTERS - HASH_CHARACTERS - 1);
    full_name.starts_with(&beginning[..kept])
}

/// In the characters that every provider takes.
fn simple(name: &str) -> String {
    let is_taken = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    name.chars().map(|character| if is_taken(character) { character } else { '_' }).collect()
}

/// The operator's word, else the server's if it is trusted, else [`Effect::Unsafe`].
pub(super) fn effect(config: &McpServerConfig, tool: &str, hints: Option<&ToolAnnotations>) -> Effect {
    if let Some(declared) = config.tools.get(tool) {
        return declared.effect;
    }
    let Some(hints) = hints.filter(|_| config.trusted) else { return Effect::Unsafe };
    match (hints.read_only_hint, hints.idempotent_hint) {
        (Some(true), _) => Effect::ReadOnly,
        (_, Some(true)) => Effect::Idempotent,
        _ => Effect::Unsafe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::McpToolConfig;

    #[test]
    fn names_are_what_every_provider_accepts() {
        assert_eq!(full_name("git hub", "create.issue/é"), "git_hub_create_issue__");
        let long = full_name("server", &"x".repeat(100));
        assert_eq!(long.len(), 64);
        assert_ne!(long, full_name("server", &"x".repeat(101)));
        assert_eq!(full_name("s", &"x".repeat(62)).len(), 64);
    }

    #[test]
    fn a_full_name_tells_whose_it_may_be() {
        for server in ["git hub", "s", &"long".repeat(30)] {
            assert!(may_name(server, &full_name(server, "create.issue")), "{server}");
            assert!(!may_name(server, "clock_now"), "{server}");
        }
    }

    #[test]
    fn a_server_is_believed_only_if_it_is_trusted() {
        let reads = ToolAnnotations::new().read_only(true);
        let repeats = ToolAnnotations::new().idempotent(true);
        let unknown = McpServerConfig::default();
        let trusted = McpServerConfig { trusted: true, ..McpServerConfig::default() };
        assert_eq!(effect(&unknown, "t", Some(&reads)), Effect::Unsafe);
        assert_eq!(effect(&trusted, "t", Some(&reads)), Effect::ReadOnly);
        assert_eq!(effect(&trusted, "t", Some(&repeats)), Effect::Idempotent);
        assert_eq!(effect(&trusted, "t", None), Effect::Unsafe);
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let mut config = McpServerConfig { trusted: true, ..McpServerConfig::default() };
        config.tools.insert("t".to_owned(), McpToolConfig { effect: Effect::Unsafe, reconcile: None });
        let reads = ToolAnnotations::new().read_only(true);
        assert_eq!(effect(&config, "t", Some(&reads)), Effect::Unsafe);
        assert_eq!(effect(&config, "other", Some(&reads)), Effect::ReadOnly);
    }
}
