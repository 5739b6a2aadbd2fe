//! The flags of `longhaul template …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{JsonArg, RunOptions};

#[derive(Debug, Subcommand)]
pub(super) enum TemplateCommand {
    /// Write the next version of a template, from a TOML or JSON file
    Add {
        /// The file; docs/templates.md tells what is in it
        file: PathBuf,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Make a template of what a completed task did
    From(FromArgs),
    /// List templates, each with its newest version
    List(JsonArg),
    /// Show a template
    Show {
        /// Its name
        name: String,
        /// Which version [default: the newest one]
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Carry a task of a template to its end, here and now
    Run(TemplateRunArgs),
    /// Forget a template; its tasks stay
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        form: JsonArg,
    },
}

#[derive(Debug, Args)]
pub(super) struct FromArgs {
    /// The task's id, or at least 4 characters of its beginning or end
    pub(super) task: String,
    /// The name of the template
    #[arg(long)]
    pub(super) name: String,
    /// What it does [default: the goal of the task]
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// A text of the task that becomes a parameter (may be repeated)
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    pub(super) param: Vec<(String, String)>,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

#[derive(Debug, Args)]
pub(super) struct TemplateRunArgs {
    /// Its name
    pub(super) name: String,
    #[command(flatten)]
    pub(super) parameters: ParameterArgs,
    #[command(flatten)]
    pub(super) run: RunOptions,
}

/// What a template is filled in with.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ParameterArgs {
    /// A parameter of the template (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) param: Vec<(String, String)>,
    /// Which version of it [default: the newest one]
    #[arg(long, value_name = "NUMBER")]
    pub(super) template_version: Option<u32>,
}

/// Reads `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}
