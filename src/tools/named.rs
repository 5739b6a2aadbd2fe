//! Whether a call only does what a person wrote: then the model did not make up where it goes, and it
//! can carry nothing there.

use serde_json::Value;

use super::{Origin, ToolDescription};

/// The tool whose whole argument is an address.
const FETCH: &str = "http_fetch";

/// What may stand before an address in a text, besides white space.
const BEFORE: &str = "([{<\"'`*_";

/// What may stand behind one, up to the next white space.
const BEHIND: &str = ")]}>\"'`*_.,;:!?";

/// The address that is fetched, if that is all that the call tells the outside.
pub(super) fn address_of<'a>(tool: &ToolDescription, arguments: &'a Value) -> Option<&'a str> {
    let is_own = tool.name == FETCH && matches!(tool.origin, Origin::App { .. });
    let fields = arguments.as_object().filter(|fields| is_own && fields.len() == 1)?;
    fields.get("url").and_then(Value::as_str).map(str::trim)
}

/// Whether a text names an address as it is: one that only begins with it, or that it begins with, is
/// another one.
pub(super) fn names(text: &str, address: &str) -> bool {
    let Some((scheme, host)) = address.split_once("://") else { return false };
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    // People leave out the scheme, and the slash behind a host.
    let short = host.strip_suffix('/').filter(|host| !host.contains('/'));
    let forms = [Some(address.to_owned()), Some(host.to_owned())];
    let short = [short.map(|host| format!("{scheme}://{host}")), short.map(str::to_owned)];
    let mut forms = forms.into_iter().chain(short).flatten();
    is_web && !host.starts_with('/') && !host.is_empty() && forms.any(|form| stands_in(text, &form))
}

fn stands_in(text: &str, form: &str) -> bool {
    text.match_indices(form).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut behind = text[at + form.len()..].chars().take_while(|c| !c.is_whitespace());
        before.is_none_or(|c| c.is_whitespace() || BEFORE.contains(c)) && behind.all(|c| BEHIND.contains(c))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Effect;

    #[test]
    fn an_address_is_named_where_it_stands_as_it_is() {
        for (text, address) in [
            ("Read https://a.org/x?q=1", "https://a.org/x?q=1"),
            ("Read (https://a.org/x).", "https://a.org/x"),
            ("See [this](https://a.org/x)", "https://a.org/x"),
            ("https://a.org, then", "https://a.org/"),
            ("what does a.org/x say?", "https://a.org/x"),
            ("a.org!", "http://a.org/"),
        ] {
            let text = text.replace("](", "] (");
            assert!(names(&text, address), "{text}: {address}");
        }
    }

    #[test]
    fn what_is_added_or_left_out_makes_it_another_address() {
        for (text, address) in [
            ("Read https://a.org/x", "https://a.org/x?d=secret"),
            ("Read https://a.org/x", "https://a.org/x/secret"),
            ("Read https://a.org/x", "https://a.org/"),
            ("Read https://a.org/x", "https://a.org"),
            ("Read https://a.org/x", "http://a.org/x"),
            ("Read https://a.org/x", "https://b.org/x"),
            ("Write to me@a.org", "https://a.org/"),
            ("Read https://evil.a.org/", "https://a.org/"),
            ("Read a.org", "ftp://a.org"),
            ("Read https://a.org/x", ""),
            ("", "https:///"),
        ] {
            assert!(!names(text, address), "{text}: {address}");
        }
    }

    #[test]
    fn only_a_fetch_tells_nothing_but_its_address() {
        let tool = |name: &str, origin| ToolDescription {
            name: name.to_owned(),
            description: String::new(),
            schema: json!({}).into(),
            effect: Effect::ReadOnly,
            origin,
        };
        let app = || Origin::App { toolkit: "http".into() };
        let url = json!({"url": " https://a.org "});
        assert_eq!(address_of(&tool("http_fetch", app()), &url), Some("https://a.org"));
        assert_eq!(address_of(&tool("http_request", app()), &url), None);
        let mcp = Origin::Mcp { server: "http".into(), tool: "fetch".into() };
        assert_eq!(address_of(&tool("http_fetch", mcp), &url), None);
        let more = json!({"url": "https://a.org", "headers": {"x": "secret"}});
        assert_eq!(address_of(&tool("http_fetch", app()), &more), None);
    }
}
