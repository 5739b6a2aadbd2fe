//! `longhaul template …`: strategies with parameters.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::display::{cut, one_line};
use super::error::CliError;
use super::task::{find, new_table};
use super::template_args::{FromArgs, ParameterArgs, TemplateCommand};
use super::terminal::{Terminal, cell};
use super::wiring::Engine;
use super::{Exit, run};
use crate::orchestrator::{TemplateUse, TemplateWish};
use crate::repository::TemplateVersion;
use crate::task::{ModelName, Template};

/// Templates looked through at once.
const PAGE: u32 = 1_000;

/// How much of a description a table shows.
const CELL: usize = 60;

/// Runs a command.
pub(super) async fn run(
    engine: &Engine,
    command: TemplateCommand,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let (brain, user) = (&engine.orchestrator, &engine.settings.user);
    match command {
        TemplateCommand::Add { file, form } => {
            let version = brain.put_template(user, read(&file)?).await?;
            told(&version, form.json, terminal)
        }
        TemplateCommand::From(args) => from(engine, args, terminal).await,
        TemplateCommand::List(form) => list(engine, form.json, terminal).await,
        TemplateCommand::Show { name, version, form } => {
            show(&brain.template(user, &name, version).await?, form.json, terminal)
        }
        TemplateCommand::Run(args) => {
            let args = args.run.of_template(args.name, args.parameters);
            run::run(engine, args, model, terminal).await
        }
        TemplateCommand::Remove { name, form } => {
            brain.delete_template(user, &name).await?;
            match form.json {
                true => terminal.result(json!({"name": name, "removed": true}).to_string()),
                false => terminal.result(format!("{name} removed")),
            }
            Ok(Exit::Done)
        }
    }
}

/// What a file says, as TOML if it is called so and as JSON otherwise.
fn read(file: &Path) -> Result<TemplateWish, CliError> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::failed("file_unreadable", format!("{shown} cannot be read"), Some(error))
    })?;
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    let read = match is_toml {
        true => toml::from_str(&text).map_err(|error| error.to_string()),
        false => serde_json::from_str(&text).map_err(|error| error.to_string()),
    };
    read.map_err(|problem| {
        CliError::usage("template_file", format!("{shown} is no template: {}", problem.trim()))
    })
}

async fn from(engine: &Engine, args: FromArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let wish = TemplateWish {
        name: args.name,
        description: args.description,
        from_task: Some(find(engine, &args.task).await?),
        replace: args.param.into_iter().collect(),
        ..TemplateWish::default()
    };
    let version = engine.orchestrator.put_template(&engine.settings.user, wish).await?;
    told(&version, args.form.json, terminal)
}

fn told(version: &TemplateVersion, as_json: bool, terminal: &Terminal) -> Result<Exit, CliError> {
    let name = &version.template.name;
    match as_json {
        true => terminal.result(json!(version).to_string()),
        false => terminal.result(format!("{name} version {}", version.version)),
    }
    terminal.note(format!("Run it: longhaul template run {name}{}", usage(&version.template)));
    Ok(Exit::Done)
}

/// The parameters that have to be given, as flags.
fn usage(template: &Template) -> String {
    let required = template.parameters.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| format!(" --param {name}=…")).collect()
}

async fn list(engine: &Engine, as_json: bool, terminal: &Terminal) -> Result<Exit, CliError> {
    let mut versions: Vec<TemplateVersion> = Vec::new();
    loop {
        let after = versions.last().map(|last| last.template.name.clone()).unwrap_or_default();
        let page = engine.repository().templates().newest(&engine.settings.user, &after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        versions.extend(page);
        if is_last {
            break;
        }
    }
    if as_json {
        terminal.result(json!(versions).to_string());
    } else if versions.is_empty() {
        terminal.note("There are no templates.");
    } else {
        let mut table = new_table(&["NAME", "VERSION", "STEPS", "PARAMETERS", "DESCRIPTION"]);
        for version in &versions {
            let template = &version.template;
            table.add_row([
                template.name.clone(),
                version.version.to_string(),
                template.steps.steps.len().to_string(),
                template.names().collect::<Vec<_>>().join(", "),
                cut(&one_line(&template.description), cell(CELL)),
            ]);
        }
        terminal.result(table.trim_fmt());
    }
    Ok(Exit::Done)
}

fn show(version: &TemplateVersion, as_json: bool, terminal: &Terminal) -> Result<Exit, CliError> {
    if as_json {
        terminal.result(json!(version).to_string());
        return Ok(Exit::Done);
    }
    let template = &version.template;
    let mut facts = vec![
        ("Template", format!("{} version {}", template.name, version.version)),
        ("About", one_line(&template.description)),
        ("Goal", one_line(&template.goal)),
        ("Created", version.created_at.to_string()),
    ];
    facts.extend(template.preset.as_ref().map(|preset| ("Preset", preset.clone())));
    let properties = template.parameters.get("properties").and_then(Value::as_object);
    facts.extend(
        properties.into_iter().flatten().map(|(name, schema)| ("Parameter", format!("{name} {schema}"))),
    );
    terminal.facts(facts);
    let mut table = new_table(&["STEP", "TYPE", "TOOL", "DESCRIPTION"]);
    for step in &template.steps.steps {
        let tool = step.tool.as_ref().map(|tool| tool.name.clone()).unwrap_or_default();
        table.add_row([
            step.id.clone(),
            step.kind.to_string(),
            tool,
            cut(&one_line(&step.description), cell(CELL)),
        ]);
    }
    if !template.steps.steps.is_empty() {
        terminal.result(format!("\n{}", table.trim_fmt()));
    }
    Ok(Exit::Done)
}

/// The template that flags name, with the parameters as the values that its schema wants: a text
/// where it wants a text, JSON otherwise.
pub(super) async fn named(
    engine: &Engine,
    name: &str,
    flags: &ParameterArgs,
) -> Result<TemplateUse, CliError> {
    let version = flags.template_version;
    let known = engine.orchestrator.template(&engine.settings.user, name, version).await?;
    let parameters = flags.param.iter().map(|(name, text)| {
        let wanted = known.template.parameters.get("properties").and_then(|all| all.get(name)?.get("type"));
        (name.clone(), value(wanted, text))
    });
    Ok(TemplateUse { name: name.to_owned(), version, parameters: parameters.collect::<Map<String, Value>>() })
}

fn value(wanted: Option<&Value>, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    if wanted.is_some_and(|wanted| wanted == "string") {
        return as_text();
    }
    serde_json::from_str(text).unwrap_or_else(|_| as_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_the_schema_wants() {
        assert_eq!(value(Some(&json!("string")), "7"), json!("7"));
        assert_eq!(value(Some(&json!("integer")), "7"), json!(7));
        assert_eq!(value(Some(&json!("array")), "[\"a\"]"), json!(["a"]));
        assert_eq!(value(None, "plain words"), json!("plain words"));
    }
}
