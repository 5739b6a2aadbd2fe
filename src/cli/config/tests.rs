//! Who has the last word, and how mistakes are told.

use super::*;
use crate::task::ModelName;

fn file(text: &str) -> (tempfile::TempDir, Overrides) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longhaul.toml");
    std::fs::write(&path, text).unwrap();
    (directory, Overrides { file: Some(path), ..Overrides::default() })
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let (_directory, overrides) = file(text);
    Settings::load(&overrides, &Environment::of(variables))
}

fn refused(text: &str) -> String {
    load(text, &[]).unwrap_err().to_string()
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

#[test]
fn the_file_changes_defaults_and_leaves_the_rest() {
    let settings = load("[worker]\nconcurrency = 7\n[worker.limiter]\nmax = 0", &[]).unwrap();
    let expected = Config {
        worker: WorkerConfig {
            concurrency: 7,
            limiter: crate::worker::LimiterConfig { max: 0, ..Default::default() },
            ..WorkerConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(settings.config, expected);
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_the_environment() {
    let text = "[database]\nurl = 'postgres://file/x'\n[log]\nfilter = 'error'";
    let variables = [("DATABASE_URL", "postgres://env/x"), ("LONGHAUL_LOG", "info")];
    let (_directory, mut overrides) = file(text);
    let settings = Settings::load(&overrides, &Environment::of(&variables)).unwrap();
    assert_eq!(settings.config.database.url.as_deref(), Some("postgres://env/x"));
    assert_eq!(settings.config.log.filter.as_deref(), Some("info"));

    overrides.database = Some("my.db".into());
    overrides.log = Some("debug".into());
    let database = Settings::load(&overrides, &Environment::of(&variables)).unwrap().config.database;
    assert_eq!(
        (database.url, database.path),
        (None, Some("my.db".into())),
        "a flag replaces the whole address"
    );
}

#[test]
fn our_own_variable_beats_the_common_one() {
    let variables = [("DATABASE_URL", "postgres://env/x"), ("LONGHAUL_DB", "mine.db")];
    let database = load("", &variables).unwrap().config.database;
    assert_eq!((database.url, database.path), (None, Some("mine.db".into())));
}

#[test]
fn a_model_flag_is_for_every_role() {
    let (_directory, mut overrides) = file("[models]\ndefault = 'a/b'\n[models.roles]\nplan = 'c/d'");
    overrides.model = Some(model("e/f"));
    let models = Settings::load(&overrides, &Environment::of(&[])).unwrap().config.models;
    assert_eq!(models.default, Some(model("e/f")));
    assert!(models.roles.is_empty());
}

#[test]
fn a_file_in_the_configuration_directory_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("longhaul");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("longhaul.toml"), "[worker]\nconcurrency = 9").unwrap();
    let environment = Environment::of(&[("XDG_CONFIG_HOME", directory.path().to_str().unwrap())]);
    let settings = Settings::load(&Overrides::default(), &environment).unwrap();
    assert_eq!(settings.config.worker.concurrency, 9);
    assert_eq!(settings.file, Some(place.join("longhaul.toml")));
}

#[test]
fn without_any_file_everything_is_default() {
    let directory = tempfile::tempdir().unwrap();
    let environment = Environment::of(&[("HOME", directory.path().to_str().unwrap())]);
    let settings = Settings::load(&Overrides::default(), &environment).unwrap();
    assert_eq!((settings.config, settings.file), (Config::default(), None));
    assert_eq!((settings.user.as_str(), settings.works), ("local", true));
    let data = environment.data_directory().unwrap();
    assert_eq!(data, directory.path().join(".local/share/longhaul"));
}

#[test]
fn an_unknown_key_is_named_with_file_and_line() {
    let error = refused("[worker]\nconcurrency = 5\n\n  concurency = 6\n");
    assert!(error.contains("longhaul.toml:4:3: unknown field `concurency`"), "{error}");
    assert!(error.contains("`concurrency`"), "{error}");
    assert!(refused("[wroker]\nx = 1").contains(":1:2: unknown field `wroker`"));
    assert!(refused("[orchestrator.limits]\nmaxStep = 1").contains(":2:1: unknown field `maxStep`"));
}

#[test]
fn a_limiter_counts_for_a_process_or_for_all() {
    let scope = |text: &str| load(text, &[]).unwrap().config.worker.limiter.scope;
    assert_eq!(scope(""), crate::worker::LimiterScope::Process);
    assert_eq!(scope("[worker.limiter]\nscope = 'cluster'"), crate::worker::LimiterScope::Cluster);
    assert!(refused("[worker.limiter]\nscope = 'world'").contains("unknown variant `world`"));
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    assert!(refused("[worker]\nconcurrency = 'many'").contains("longhaul.toml:2:15: invalid type"));
    assert!(refused("[database]\ndurability = 'maybe'").contains(":2:14: unknown variant `maybe`"));
    assert!(refused("[worker\n").contains("longhaul.toml:1:"));
    assert!(refused("[models]\ndefault = 'gpt'").contains("provider/model"));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (text, key) in [
        ("[worker]\nconcurrency = 0", "worker.concurrency"),
        ("[worker]\npollMs = 0", "worker.pollMs"),
        ("[worker]\nleaseMs = 6000", "worker.leaseMs"),
        ("[worker.limiter]\nduration = 0", "worker.limiter.duration"),
        ("[orchestrator]\nthreshold = 2.0", "orchestrator.threshold"),
        ("[orchestrator.limits]\nmaxSteps = 0", "orchestrator.limits.maxSteps"),
        ("[orchestrator.retry]\nfactor = 0.5", "orchestrator.retry.factor"),
        ("[presets.a]\nlimits = { maxStep = 1 }", "presets: a: "),
        ("[agents.a]\ninstructions = 'x'\npreset = 'b'", "agents: a: preset: there is no preset 'b'"),
        ("[agents.a]\ninstructions = ' '", "agents: a: has no instructions"),
        ("[database]\nconnections = 0", "database.connections"),
        ("[database]\nurl = 'mysql://x'", "database.url"),
    ] {
        let error = refused(text);
        assert!(error.starts_with(key), "{error}");
    }
    assert!(refused("[tools.mcp.a]\n").contains("tools"), "a server without program and address");
}

#[test]
fn variables_that_make_no_sense_are_refused() {
    let typo = load("", &[("DATABASE_URL", "localhost:5432/longhaul")]).unwrap_err().to_string();
    assert!(typo.contains("sqlite:FILE"), "no file of that name is made: {typo}");
    let error = load("", &[("DATABASE_URL", "mysql://root:s3cret@db/x")]).unwrap_err().to_string();
    assert!(error.starts_with("DATABASE_URL") && !error.contains("s3cret"), "{error}");
    let error = load("", &[("REDIS_URL", "http://root:s3cret@redis")]).unwrap_err().to_string();
    assert!(error.starts_with("queue.url") && !error.contains("s3cret"), "{error}");
    let error = load("", &[("DISABLE_TASK_WORKER", "maybe")]).unwrap_err().to_string();
    assert!(error.starts_with("DISABLE_TASK_WORKER"), "{error}");
}

#[test]
fn the_seeds_variables_are_read() {
    let variables = [
        ("DISABLE_TASK_WORKER", "TRUE"),
        ("CHAT_API_KEY", "s3cret"),
        ("SYSTEM_USER_ID", "ada"),
        ("REDIS_URL", "redis://x"),
        ("DATABASE_URL", " "),
    ];
    let settings = load("", &variables).unwrap();
    assert!(!settings.works);
    assert_eq!(settings.user, "ada");
    assert_eq!(settings.config.database, DatabaseConfig::default(), "a blank value is no value");
    assert_eq!(settings.config.queue.url.as_deref(), Some("redis://x"));
    assert!(settings.api_key.is_some());
}

#[test]
fn secrets_never_reach_a_log() {
    let text = "[database]\nurl = 'postgres://ada:s3cret@db/x'\n[queue]\nurl = 'redis://:s3cret@redis'";
    let settings = load(text, &[("CHAT_API_KEY", "s3cret")]).unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn lists_of_mcp_servers_are_merged_and_replace_servers_of_the_same_name() {
    let (directory, mut overrides) = file("[tools.mcp.a]\ncommand = 'old'\n[tools.mcp.b]\nurl = 'http://b/'");
    let path = directory.path().join("mcp.json");
    std::fs::write(&path, r#"{"mcpServers": {"a": {"command": "new"}, "c": {"command": "c"}}}"#).unwrap();
    overrides.mcp_files = vec![path.clone()];
    let mcp = Settings::load(&overrides, &Environment::of(&[])).unwrap().config.tools.mcp;
    assert_eq!(mcp.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(mcp["a"].command.as_deref(), Some("new"));

    std::fs::write(&path, "{}").unwrap();
    let error = Settings::load(&overrides, &Environment::of(&[])).unwrap_err();
    assert!(error.to_string().contains("mcp.json"));
    assert_eq!(error.code(), "config_mcp");
}

#[test]
fn a_named_file_must_exist() {
    let overrides = Overrides { file: Some("/no/such/file.toml".into()), ..Overrides::default() };
    let error = Settings::load(&overrides, &Environment::of(&[])).unwrap_err();
    assert_eq!(error.code(), "config_unreadable");
}

mod documents {
    //! The example and the page name every key, with its default.

    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/longhaul.toml");
    const PAGE: &str = include_str!("../../../docs/configuration.md");

    /// The example with its keys switched on: they stand behind a `#` without a blank.
    fn switched_on() -> String {
        let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '[') => key,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn parse(text: &str) -> Config {
        super::super::file::parse("examples/longhaul.toml".as_ref(), text)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_example_is_the_defaults_with_and_without_its_comment_signs() {
        assert_eq!(parse(EXAMPLE), Config::default());
        assert_eq!(parse(&switched_on()), Config::default());
    }

    /// The keys of a table, as the parser lists them when it meets one that it does not know.
    fn keys(table: &str) -> Vec<String> {
        let error =
            super::super::file::parse("x".as_ref(), &format!("[{table}]\nno_such_key = 1")).unwrap_err();
        let error = error.to_string();
        let list = error.split_once("expected").unwrap_or_else(|| panic!("{error}")).1;
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_is_in_the_example_and_on_the_page() {
        let tables = [
            "server",
            "worker",
            "worker.limiter",
            "orchestrator",
            "orchestrator.limits",
            "orchestrator.retry",
            "orchestrator.approval",
            "budget",
            "presets.x",
            "agents.x",
            "models",
            "models.breaker",
            "models.timeouts",
            "models.providers.x",
            "tools",
            "tools.mcp.x",
            "tools.mcp.x.tools.y",
            "secrets.x",
            "checks.x",
            "database",
            "queue",
            "log",
        ];
        for table in tables {
            for key in keys(table) {
                let forms = [format!("{key} ="), format!(".{key}]"), format!("{key}.")];
                let shown = forms.iter().any(|form| EXAMPLE.contains(form.as_str()));
                assert!(shown, "{table}.{key} is not in examples/longhaul.toml");
                assert!(PAGE.contains(&format!("`{key}`")), "{table}.{key} is not in docs/configuration.md");
            }
        }
    }
}
