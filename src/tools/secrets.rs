//! Secrets by reference: `{{secret:NAME}}` in what a tool is called with.
//!
//! A plan, a model and a journal know the name alone. The value is put in its place when the tool is
//! called, and taken out of whatever comes back, before anything is recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::config::is_host;
use super::disguise::{SHORTEST, disguises};
use super::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput, ToolboxError};
use crate::task::{Fault, SECRET, secrets_in, unmarked, with_causes};

const OPENING: &str = SECRET.0;
const CLOSING: &str = SECRET.1;

/// One secret, as the `[secrets]` table of the configuration has it: where its value is, and who
/// may be given it. It is in the variable `LONGHAUL_SECRET_NAME` if nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretConfig {
    /// The environment variable that has the value.
    pub env: Option<String>,
    /// The file that has the value; white space around it does not count.
    pub file: Option<PathBuf>,
    /// Tools that may be called with it: by full name, or by the beginning of it with a `*`. None
    /// may if nothing is said: it is for the headers and the environment of MCP servers then.
    pub tools: Vec<String>,
    /// Hosts to which the HTTP tools may send it: `api.example.com`, or `*.example.com`. They may
    /// send it nowhere if nothing is said.
    pub hosts: Vec<String>,
}

/// All secrets with their values. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<String, Secret>>);

struct Secret {
    value: SecretString,
    /// How the value looks in addresses, forms and JSON texts, where it looks otherwise there.
    disguises: Vec<SecretString>,
    config: SecretConfig,
}

/// Shows names, never values.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Reads the values. `variable` looks up the environment.
    ///
    /// # Errors
    /// [`ToolboxError::Secret`] for a value that is not there or too short to be told from other text.
    pub fn load(
        config: &BTreeMap<String, SecretConfig>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ToolboxError> {
        let mut secrets = BTreeMap::new();
        for (name, config) in config {
            let value = read(name, config, variable)
                .map_err(|problem| ToolboxError::Secret { name: name.clone(), problem })?;
            let disguises = disguises(&value);
            secrets.insert(name.clone(), Secret { value: value.into(), disguises, config: config.clone() });
        }
        Ok(Self(Arc::new(secrets)))
    }

    /// A text of the operator's with the values in it.
    pub(super) fn resolve(&self, text: &str) -> Result<String, String> {
        self.replaced(text, &|_, _| Ok(()))
    }

    /// A text without the values: each is replaced by its reference.
    pub(super) fn redacted(&self, text: String) -> String {
        self.0.iter().fold(text, |text, (name, secret)| {
            let reference = format!("{OPENING}{name}{CLOSING}");
            std::iter::once(&secret.value).chain(&secret.disguises).fold(text, |text, form| {
                let form = form.expose_secret();
                if text.contains(form) { text.replace(form, &reference) } else { text }
            })
        })
    }

    /// The tool as tasks are given it: it takes references, and returns no values.
    pub(super) fn guard(&self, tool: Arc<dyn Tool>) -> Arc<dyn Tool> {
        Arc::new(Guarded { tool, secrets: self.clone() })
    }

    fn replaced(
        &self,
        text: &str,
        may: &dyn Fn(&str, &SecretConfig) -> Result<(), String>,
    ) -> Result<String, String> {
        let mut whole = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPENING) {
            let (name, tail) = after
                .split_once(CLOSING)
                .ok_or_else(|| format!("'{OPENING}' is not closed by '{CLOSING}'"))?;
            let name = name.trim();
            let secret =
                self.0.get(name).ok_or_else(|| format!("there is no secret '{name}' ([secrets])"))?;
            may(name, &secret.config)?;
            whole.push_str(&unmarked(before));
            whole.push_str(secret.value.expose_secret());
            rest = tail;
        }
        whole.push_str(&unmarked(rest));
        Ok(whole)
    }

    fn arguments(&self, tool: &ToolDescription, arguments: Value) -> Result<Value, String> {
        let host = host_of(tool, &arguments);
        let may = |name: &str, config: &SecretConfig| config.allows(name, tool, host.as_deref());
        let arguments = map_texts(arguments, &|text| self.replaced(&text, &may))?;
        // What a value has in it may end the part of an address that it stands in.
        match host_of(tool, &arguments) == host {
            true => Ok(arguments),
            false => {
                Err("a secret would change the host of the address: write it percent-encoded, or send it \
                          in a header"
                    .to_owned())
            }
        }
    }

    fn output(&self, output: ToolOutput) -> ToolOutput {
        if self.0.is_empty() {
            return output;
        }
        let redacted = |text| Ok::<_, String>(self.redacted(text));
        // Taking something out of a text cannot fail.
        let content = map_texts(output.content, &redacted).unwrap_or_default();
        ToolOutput { content, ..output }
    }

    fn error(&self, error: ToolError) -> ToolError {
        // A cause is a text of somebody else's: what it says is kept, and nothing else of it.
        let cause = |source: Option<Box<dyn std::error::Error + Send + Sync>>| {
            source.map(|source| self.redacted(with_causes(source.as_ref())).into())
        };
        // Each one by its name: whoever adds an error has to say here what of it may be a value.
        match error {
            ToolError::Unknown(name) => ToolError::Unknown(self.redacted(name)),
            ToolError::NotPlanned(name) => ToolError::NotPlanned(self.redacted(name)),
            ToolError::Gone(name) => ToolError::Gone(self.redacted(name)),
            ToolError::Arguments(detail) => ToolError::Arguments(self.redacted(detail)),
            ToolError::Denied(detail) => ToolError::Denied(self.redacted(detail)),
            ToolError::Unreachable { server, detail, source } => ToolError::Unreachable {
                server: self.redacted(server),
                detail: self.redacted(detail),
                source: cause(source),
            },
            ToolError::Status { url, status, number, retry_after_ms } => ToolError::Status {
                url: self.redacted(url),
                status: self.redacted(status),
                number,
                retry_after_ms,
            },
            ToolError::Interrupted { detail, source } => {
                ToolError::Interrupted { detail: self.redacted(detail), source: cause(source) }
            }
            ToolError::Recorded(fault) => {
                ToolError::Recorded(Fault { message: self.redacted(fault.message), ..fault })
            }
            bare @ (ToolError::OutputTooLarge { .. }
            | ToolError::Timeout(_)
            | ToolError::HeldBack
            | ToolError::Cancelled) => bare,
        }
    }
}

impl SecretConfig {
    fn allows(&self, name: &str, tool: &ToolDescription, host: Option<&str>) -> Result<(), String> {
        let tool_name = &tool.name;
        let names = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => tool_name.starts_with(beginning),
            None => pattern == tool_name,
        };
        if !self.tools.iter().any(names) {
            return Err(format!(
                "{tool_name} may not be called with the secret '{name}' (secrets.{name}.tools)"
            ));
        }
        match (is_http(tool), host) {
            (false, _) => Ok(()),
            (true, Some(host)) if self.hosts.iter().any(|pattern| is_host(host, pattern)) => Ok(()),
            (true, host) => {
                let host = host.unwrap_or("this address");
                Err(format!("the secret '{name}' may not be sent to {host} (secrets.{name}.hosts)"))
            }
        }
    }
}

fn is_http(tool: &ToolDescription) -> bool {
    matches!(&tool.origin, Origin::App { toolkit } if toolkit == "http")
}

/// Whom an HTTP tool is asked to call. What stands in an address beside it cannot change that.
fn host_of(tool: &ToolDescription, arguments: &Value) -> Option<String> {
    let address = arguments.get("url").filter(|_| is_http(tool))?.as_str()?;
    let url = url::Url::parse(address.trim()).ok()?;
    // A reference within the host would make it another one.
    url.host_str().filter(|host| !host.contains(['{', '}', '%'])).map(str::to_ascii_lowercase)
}

fn read(
    name: &str,
    config: &SecretConfig,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let value = match (&config.file, &config.env) {
        (Some(_), Some(_)) => return Err("only one of `env` and `file` may be given".to_owned()),
        (Some(path), None) => std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
        (None, env) => {
            let env = env.clone().unwrap_or_else(|| usual_variable(name));
            variable(&env).ok_or_else(|| format!("the environment variable {env} is not set"))?
        }
    };
    let value = value.trim();
    if value.len() < SHORTEST {
        return Err(format!("has fewer than {SHORTEST} bytes: it could not be told from other text"));
    }
    Ok(value.to_owned())
}

/// `LONGHAUL_SECRET_GITHUB_TOKEN` for `github-token`.
fn usual_variable(name: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    format!("LONGHAUL_SECRET_{}", name.chars().map(letter).collect::<String>())
}

fn map_texts(value: Value, map: &dyn Fn(String) -> Result<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(map(text)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| map_texts(item, map)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| Ok((map(key)?, map_texts(value, map)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

/// A tool that is given values and returns none.
struct Guarded {
    tool: Arc<dyn Tool>,
    secrets: Secrets,
}

#[async_trait]
impl Tool for Guarded {
    fn description(&self) -> &ToolDescription {
        self.tool.description()
    }

    fn reconciler(&self) -> Option<&str> {
        self.tool.reconciler()
    }

    /// A secret is judged by its value, and is not named in what is wrong with it. Who may not have it is told so
    /// by the call.
    fn problem(&self, arguments: &Value) -> Option<String> {
        if secrets_in(arguments).is_empty() {
            return self.tool.problem(arguments);
        }
        let arguments = self.secrets.arguments(self.tool.description(), arguments.clone()).ok()?;
        self.tool.problem(&arguments).map(|problem| self.secrets.redacted(problem))
    }

    fn problem_in_plan(&self, arguments: &Value) -> Option<String> {
        self.tool.problem_in_plan(arguments)
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        let known = self.tool.description();
        let context = CallContext { is_confidential: !secrets_in(&arguments).is_empty(), ..context };
        let arguments = self.secrets.arguments(known, arguments).map_err(ToolError::Denied)?;
        match self.tool.call(arguments, context).await {
            Ok(output) => Ok(self.secrets.output(output)),
            Err(error) => Err(self.secrets.error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD_NO_PAD;

    use super::*;
    use crate::task::Effect;

    const VALUE: &str = "s3cr3t/&value";

    fn secrets(config: Value) -> Secrets {
        let config = serde_json::from_value(json!({"token": config})).unwrap();
        Secrets::load(&config, &|name| (name == "LONGHAUL_SECRET_TOKEN").then(|| VALUE.to_owned())).unwrap()
    }

    fn tool(name: &str, toolkit: &str) -> ToolDescription {
        ToolDescription {
            name: name.to_owned(),
            description: String::new(),
            schema: json!({}).into(),
            effect: Effect::Unsafe,
            origin: Origin::App { toolkit: toolkit.to_owned() },
        }
    }

    #[test]
    fn a_value_is_given_to_those_who_may_have_it_and_to_nobody_else() {
        let secrets = secrets(json!({"tools": ["shop_*"]}));
        let arguments = json!({"key": "Bearer {{secret:token}}", "list": ["{{secret:token}}"]});
        let given = secrets.arguments(&tool("shop_pay", "shop"), arguments.clone()).unwrap();
        assert_eq!(given, json!({"key": format!("Bearer {VALUE}"), "list": [VALUE]}));
        let refused = secrets.arguments(&tool("mail_send", "mail"), arguments).unwrap_err();
        assert!(refused.contains("mail_send may not") && !refused.contains(VALUE), "{refused}");
        let unknown = secrets.arguments(&tool("shop_pay", "shop"), json!("{{secret:other}}")).unwrap_err();
        assert!(unknown.contains("no secret 'other'"), "{unknown}");
        assert!(secrets.arguments(&tool("shop_pay", "shop"), json!("{{secret:token")).is_err());
        // Nor is a reference sent as it is where there are no secrets at all: a bill is not paid with it.
        let none = Secrets::default().arguments(&tool("shop_pay", "shop"), json!("Bearer {{secret:shop}}"));
        assert!(none.unwrap_err().contains("no secret 'shop'"));
    }

    #[test]
    fn arguments_are_judged_with_the_value_and_what_is_wrong_does_not_tell_it() {
        let judged = |schema: Value| {
            let description = ToolDescription { schema: schema.into(), ..tool("shop_pay", "shop") };
            let guarded = secrets(json!({"tools": ["shop_*"]})).guard(Arc::new(Described(description)));
            guarded.problem(&json!({"key": "{{secret:token}}"}))
        };
        let length = VALUE.len();
        assert_eq!(judged(json!({"properties": {"key": {"maxLength": length}}})), None);
        let short = judged(json!({"properties": {"key": {"minLength": length + 1}}})).unwrap();
        assert!(short.starts_with("at /key: ") && !short.contains(VALUE), "{short}");
    }

    struct Described(ToolDescription);

    #[async_trait]
    impl Tool for Described {
        fn description(&self) -> &ToolDescription {
            &self.0
        }

        async fn call(&self, _: Value, _: CallContext) -> Result<ToolOutput, ToolError> {
            Ok(ToolOutput::ok("called"))
        }
    }

    #[test]
    fn what_only_looks_like_a_reference_is_handed_on_as_it_was() {
        let written = json!({"text": r"say {{\secret:token}} and {{\\secret:token}}"});
        let given =
            |secrets: &Secrets| secrets.arguments(&tool("mail_send", "mail"), written.clone()).unwrap();
        let expected = json!({"text": r"say {{secret:token}} and {{\secret:token}}"});
        assert_eq!(given(&secrets(json!({"tools": ["*"]}))), expected);
        assert_eq!(given(&Secrets::default()), expected);
    }

    #[test]
    fn a_value_is_sent_to_its_hosts_only() {
        let secrets = secrets(json!({"tools": ["http_*"], "hosts": ["api.example.com", "*.example.org"]}));
        let http = tool("http_fetch", "http");
        let ask = |url: &str| secrets.arguments(&http, json!({"url": url}));
        for url in ["https://api.example.com/?t={{secret:token}}", "https://a.example.org/{{secret:token}}"] {
            assert!(ask(url).is_ok(), "{url}");
        }
        for url in [
            "https://evil.example/?t={{secret:token}}",
            "https://api.example.com.evil.example/{{secret:token}}",
            "https://api.example.com@evil.example/{{secret:token}}",
            "https://example.org/{{secret:token}}",
            "https://evilexample.org/{{secret:token}}",
            "https://{{secret:token}}.example.org/",
            "not an address {{secret:token}}",
        ] {
            assert!(ask(url).is_err(), "{url}");
        }
    }

    #[test]
    fn nothing_that_comes_back_has_a_value_in_it() {
        let secrets = secrets(json!({}));
        let output = ToolOutput::ok(json!({VALUE: [format!("Bearer {VALUE}"), "s3cr3t%2F%26value", 7]}));
        let told = secrets.output(output).content;
        assert_eq!(told, json!({"{{secret:token}}": ["Bearer {{secret:token}}", "{{secret:token}}", 7]}));
        let error = ToolError::Interrupted { detail: VALUE.into(), source: Some(VALUE.into()) };
        let fault = secrets.error(error).fault();
        assert!(!fault.message.contains(VALUE) && fault.message.contains("{{secret:token}}"), "{fault}");
        assert_eq!(format!("{secrets:?}"), r#"["token"]"#);
    }

    /// A tool that fails, and tells with what it was called.
    struct Failing(ToolDescription, fn(String) -> ToolError);

    #[async_trait]
    impl Tool for Failing {
        fn description(&self) -> &ToolDescription {
            &self.0
        }

        async fn call(&self, arguments: Value, _: CallContext) -> Result<ToolOutput, ToolError> {
            Err(self.1(arguments["key"].as_str().unwrap().to_owned()))
        }
    }

    #[tokio::test]
    async fn no_error_of_a_tool_tells_what_it_was_called_with() {
        let failures: [fn(String) -> ToolError; 9] = [
            ToolError::Unknown,
            ToolError::NotPlanned,
            ToolError::Gone,
            ToolError::Arguments,
            ToolError::Denied,
            |said| ToolError::Unreachable {
                server: said.clone(),
                detail: said.clone(),
                source: Some(said.into()),
            },
            |said| ToolError::Status {
                url: format!("https://example.com/{said}"),
                status: format!("404 {said}"),
                number: 404,
                retry_after_ms: None,
            },
            |said| ToolError::Interrupted { detail: said.clone(), source: Some(said.into()) },
            |said| ToolError::Recorded(Fault::permanent("code", said)),
        ];
        let secrets = secrets(json!({"tools": ["shop_*"]}));
        for failure in failures {
            let guarded = secrets.guard(Arc::new(Failing(tool("shop_pay", "shop"), failure)));
            let arguments = json!({"key": "{{secret:token}}"});
            let error = guarded.call(arguments, CallContext::of_test()).await.unwrap_err();
            let told = format!("{error:?} {}", error.fault());
            assert!(!told.contains(VALUE) && told.contains("{{secret:token}}"), "{told}");
        }
    }

    #[test]
    fn a_value_is_found_as_addresses_forms_and_json_write_it() {
        let value = "pass \"word\" {über}#1?/2";
        let config = serde_json::from_value(json!({"token": {}})).unwrap();
        let secrets = Secrets::load(&config, &|_| Some(value.to_owned())).unwrap();
        let in_query = url::Url::parse(&format!("https://example.com/a?key={value}")).unwrap().to_string();
        let in_path = url::Url::parse(&format!("https://example.com/a/{value}")).unwrap().to_string();
        let in_form =
            format!("key={}", url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
        let in_json = json!({"key": value}).to_string();
        assert!(in_query.contains("%20%22") && in_path.contains("%7B") && in_form.contains("+%22"));
        for text in [in_query, in_path, in_form, in_json] {
            let told = secrets.redacted(text.clone());
            assert!(told.contains("{{secret:token}}") && !told.contains("word"), "{text}: {told}");
        }
    }

    #[test]
    fn a_value_is_found_as_client_libraries_write_parameters() {
        let value = "a b&c/d~e!f(g)'h#word";
        let config = serde_json::from_value(json!({"token": {}})).unwrap();
        let secrets = Secrets::load(&config, &|_| Some(value.to_owned())).unwrap();
        for text in [
            // encodeURIComponent, encodeURI, Python's quote with and without safe="", Go's PathEscape.
            "?key=a%20b%26c%2Fd~e!f(g)'h%23word",
            "?key=a%20b&c/d~e!f(g)'h#word",
            "/a%20b%26c/d~e%21f%28g%29%27h%23word",
            "/a%20b%26c%2Fd~e%21f%28g%29%27h%23word",
            "/a%20b%26c%2fd~e%21f%28g%29%27h%23word",
        ] {
            let told = secrets.redacted(text.to_owned());
            assert!(told.contains("{{secret:token}}") && !told.contains("word"), "{text}: {told}");
        }
    }

    #[test]
    fn a_value_is_found_however_json_html_and_base64_write_it() {
        let value = "p\"q\\r\nZ£é<&>/secret88";
        let config = serde_json::from_value(json!({"token": {}})).unwrap();
        let secrets = Secrets::load(&config, &|_| Some(value.to_owned())).unwrap();
        let forms = [
            r#"{"s": "p\"q\\r\nZ\u00a3\u00e9<&>/secret88"}"#.to_owned(),
            r#"{"s": "p\"q\\r\nZ\u00A3\u00E9<&>\/secret88"}"#.to_owned(),
            r#"{"s": "p\"q\\r\nZ£é\u003c\u0026\u003e/secret88"}"#.to_owned(),
            "<p>p&quot;q\\r\nZ£é&lt;&amp;&gt;/secret88</p>".to_owned(),
        ];
        for text in forms {
            let told = secrets.redacted(text.clone());
            assert!(told.contains("{{secret:token}}") && !told.contains("secret88"), "{text}: {told}");
        }
        for user in ["", "u", "us", "use"] {
            let basic = BASE64_STANDARD_NO_PAD.encode(format!("{user}{value}:more"));
            let told = secrets.redacted(basic.clone());
            assert!(told.contains("{{secret:token}}") && told.len() < 30, "{basic}: {told}");
        }
        let key =
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----";
        let secrets = Secrets::load(&config, &|_| Some(key.to_owned())).unwrap();
        let told = secrets.redacted("line 2: MIIEvQIBADANBgkqhkiG9w0B".to_owned());
        assert_eq!(told, "line 2: {{secret:token}}");
    }

    #[test]
    fn a_value_does_not_lead_a_request_to_another_host() {
        let secrets = secrets(json!({"tools": ["http_fetch"], "hosts": ["example.com"]}));
        let fetch = tool("http_fetch", "http");
        let asked = |url: &str| secrets.arguments(&fetch, json!({"url": url}));
        let refused = asked("https://{{secret:token}}@example.com/").unwrap_err();
        assert!(refused.contains("would change the host") && !refused.contains("s3cr3t"), "{refused}");
        assert!(asked("https://example.com/?key={{secret:token}}").is_ok());
    }

    #[test]
    fn a_secret_that_is_not_there_or_too_short_is_said_before_anything_starts() {
        let load = |config: Value, value: Option<&str>| {
            let config = serde_json::from_value(json!({"my-key": config})).unwrap();
            let value = value.map(str::to_owned);
            Secrets::load(&config, &|name| value.clone().filter(|_| name == "LONGHAUL_SECRET_MY_KEY"))
        };
        assert!(load(json!({}), Some("long enough")).is_ok());
        for (config, value) in [
            (json!({}), None),
            (json!({}), Some("short")),
            (json!({"env": "OTHER"}), Some("long enough")),
            (json!({"file": "/nowhere/at/all"}), Some("long enough")),
            (json!({"file": "/etc/hostname", "env": "OTHER"}), Some("long enough")),
        ] {
            let error = load(config.clone(), value).unwrap_err();
            assert!(error.to_string().contains("secret 'my-key'"), "{config}: {error}");
        }
    }
}
