//! Templates: written, made from tasks that were carried out, and filled in for new ones.

use std::collections::BTreeMap;

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Orchestrator, OrchestratorError, TaskRequest, template_steps};
use crate::repository::{RepositoryError, TemplateVersion};
use crate::task::{
    Ground, PlanError, Status, Task, TaskId, Template, TemplateRef, is_parameter_name, read_json,
};

/// Longest name: with `workflow_` before it, it is the name of a tool.
const MAX_NAME: usize = 50;

/// Longest template as JSON, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// How often a write is tried again after somebody else wrote first.
const TRIES: usize = 16;

/// What a template is to be.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct TemplateWish {
    /// Small letters, digits, `-` and `_`, at most 50 characters.
    pub name: String,
    /// What it does; a model that is offered it as a tool reads this.
    pub description: Option<String>,
    /// The JSON Schema of its parameters, an object with `properties`. Others than these are
    /// refused, unless it says `additionalProperties`.
    pub parameters: Option<Map<String, Value>>,
    /// The goal of its tasks; `{{name}}` stands for a parameter.
    pub goal: Option<String>,
    /// The steps, as `GET` shows them. `dependsOn` may name ids; a step that says nothing waits for
    /// the one before it. Without steps, a plan is made each time.
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub steps: Vec<Value>,
    /// The preset of the configuration that its tasks begin from.
    pub preset: Option<String>,
    /// Goal and steps are those of this completed task.
    pub from_task: Option<TaskId>,
    /// With `fromTask`: texts of that task that become parameters, by the parameter's name. Each
    /// is the default of its parameter.
    pub replace: BTreeMap<String, String>,
}

/// Which template a task is made from, and with what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TemplateUse {
    /// Its name.
    pub name: String,
    /// Which version; the newest one otherwise.
    pub version: Option<u32>,
    /// Its parameters.
    pub parameters: Map<String, Value>,
}

/// How one that is missing is told.
fn name_of(name: &str, version: Option<u32>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name}, version {version}"))
}

impl Orchestrator {
    /// Writes the next version of a template; the same content again is the same version.
    pub async fn put_template(
        &self,
        user_id: &str,
        wish: TemplateWish,
    ) -> Result<TemplateVersion, OrchestratorError> {
        let template = match wish.from_task {
            Some(id) => self.template_of(user_id, id, wish).await?,
            None => self.written(wish)?,
        };
        self.check_template(&template)?;
        let templates = self.repository.templates();
        for _ in 0..TRIES {
            let newest = templates.get(user_id, &template.name, None).await?;
            if let Some(newest) = newest.filter(|newest| newest.template == template) {
                return Ok(newest);
            }
            // A task names the version that it was made from: no number is given twice.
            let version = templates.last_version(user_id, &template.name).await? + 1;
            let user_id = user_id.to_owned();
            let next =
                TemplateVersion { user_id, version, created_at: self.now(), template: template.clone() };
            match templates.add(&next).await {
                Err(RepositoryError::Stale) => {}
                written => return Ok(written.map(|()| next)?),
            }
        }
        Err(RepositoryError::Stale.into())
    }

    /// A version of a template; the newest one if none is named.
    pub async fn template(
        &self,
        user_id: &str,
        name: &str,
        version: Option<u32>,
    ) -> Result<TemplateVersion, OrchestratorError> {
        let found = self.repository.templates().get(user_id, name, version).await?;
        found.ok_or_else(|| OrchestratorError::NoTemplate(name_of(name, version)))
    }

    /// Forgets all versions of a template. Its tasks stay as they are.
    pub async fn delete_template(&self, user_id: &str, name: &str) -> Result<(), OrchestratorError> {
        match self.repository.templates().remove(user_id, name).await? {
            true => Ok(()),
            false => Err(OrchestratorError::NoTemplate(name_of(name, None))),
        }
    }

    /// A request with goal, steps and preset of the template that it names, filled in; and which
    /// version of it that was.
    pub(super) async fn with_template(
        &self,
        mut request: TaskRequest,
    ) -> Result<(TaskRequest, Option<TemplateRef>), OrchestratorError> {
        let Some(using) = request.template.clone() else { return Ok((request, None)) };
        let found = self.template(&request.user_id, &using.name, using.version).await?;
        let template = &found.template;
        let values = checked(template, &using.parameters)?;
        let (goal, plan) = template.fill(&values).map_err(|error| {
            let problem = format!("do not fit the steps of the template: {}", error.told("steps"));
            invalid("parameters", problem)
        })?;
        if request.goal.trim().is_empty() {
            request.goal = goal;
        }
        request.preset = request.preset.or_else(|| template.preset.clone());
        if request.plan.is_none() && !plan.steps.is_empty() {
            request.plan = Some(plan);
        }
        let made_from = TemplateRef { name: template.name.clone(), version: found.version };
        Ok((request, Some(made_from)))
    }

    fn written(&self, wish: TemplateWish) -> Result<Template, OrchestratorError> {
        if !wish.replace.is_empty() {
            return Err(invalid("replace", "goes with fromTask".to_owned()));
        }
        let goal = wish.goal.unwrap_or_default();
        let steps = template_steps::read(wish.steps).map_err(|problem| wrong_steps(problem.into()))?;
        Ok(Template {
            name: wish.name,
            description: wish.description.unwrap_or_default(),
            parameters: as_object(wish.parameters.unwrap_or_default()),
            goal,
            steps,
            preset: wish.preset,
        })
    }

    /// Goal and steps of a task, with the texts that are to be replaced as parameters.
    async fn template_of(
        &self,
        user_id: &str,
        id: TaskId,
        wish: TemplateWish,
    ) -> Result<Template, OrchestratorError> {
        if wish.goal.is_some() || !wish.steps.is_empty() || wish.parameters.is_some() {
            return Err(invalid(
                "fromTask",
                "brings goal and steps: leave out goal, steps and parameters".into(),
            ));
        }
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        if task.spec().user_id != user_id {
            return Err(OrchestratorError::Forbidden);
        }
        if task.status() != Status::Completed {
            return Err(OrchestratorError::NotNow { verb: "make a template of", status: task.status() });
        }
        let mut value = content_of(&task).map_err(|error| invalid("fromTask", error.to_string()))?;
        if let Some(text) = generalise(&mut value, &wish.replace) {
            return Err(invalid("replace", format!("'{text}' stands nowhere in the task")));
        }
        let property =
            |(name, text): (&String, &String)| (name.clone(), json!({"type": "string", "default": text}));
        let properties: Map<String, Value> = wish.replace.iter().map(property).collect();
        value["name"] = json!(wish.name);
        value["description"] = json!(wish.description.unwrap_or_else(|| task.spec().goal.clone()));
        value["parameters"] =
            as_object(Map::from_iter([("properties".to_owned(), properties.into())])).into();
        value["preset"] = json!(wish.preset);
        let mut template = read_json(value).map_err(|problem| invalid("fromTask", problem))?;
        keep_braces(&mut template);
        Ok(template)
    }

    /// Whether a template makes sense by itself. Whether its tools are there is seen when it is run.
    fn check_template(&self, template: &Template) -> Result<(), OrchestratorError> {
        let name = &template.name;
        let is_fine =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_fine) {
            let problem = format!("has 1 to {MAX_NAME} characters: small letters, digits, - and _");
            return Err(invalid("name", problem));
        }
        if template.goal.trim().is_empty() {
            return Err(invalid("goal", "is empty: say what is to be reached".to_owned()));
        }
        if let Some(bad) = template.names().find(|name| !is_parameter_name(name)) {
            return Err(invalid("parameters", format!("'{bad}' is no name: letters, digits, _ and - only")));
        }
        validator(template)?;
        if let Some(name) = template.undeclared() {
            let problem = format!("{{{{{name}}}}} is used and not declared: add it to parameters.properties");
            return Err(invalid("parameters", problem));
        }
        if !template.steps.steps.is_empty() {
            // A list or a condition may be a parameter: those are looked at when it is run.
            match template.steps.validate(&Ground::default(), &self.config.limits) {
                Err(error) if !may_be_parameter(&error) => return Err(wrong_steps(error)),
                Ok(()) | Err(_) => {}
            }
        }
        let bytes = serde_json::to_string(template).map_or(0, |text| text.len());
        if bytes > MAX_BYTES {
            return Err(invalid(
                "steps",
                format!("the template has {bytes} bytes, at most {MAX_BYTES} are allowed"),
            ));
        }
        Ok(())
    }
}

/// The parameters with defaults, or what is wrong with them: by the name of the first that is.
pub(super) fn checked(
    template: &Template,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, OrchestratorError> {
    let all = template.with_defaults(given);
    let value = Value::Object(all);
    if let Some(error) = validator(template)?.iter_errors(&value).next() {
        let place = error.instance_path().to_string();
        let place = place.trim_start_matches('/').replace('/', ".");
        let problem = if place.is_empty() { error.to_string() } else { format!("{place}: {error}") };
        return Err(invalid("parameters", problem));
    }
    match value {
        Value::Object(all) => Ok(all),
        _ => Ok(Map::new()),
    }
}

fn validator(template: &Template) -> Result<Validator, OrchestratorError> {
    crate::tools::validator(&Value::Object(template.parameters.clone()))
        .map_err(|error| invalid("parameters", format!("is no JSON Schema: {error}")))
}

/// A schema of an object that takes nothing it does not name, unless it says otherwise.
fn as_object(mut schema: Map<String, Value>) -> Map<String, Value> {
    schema.entry("type").or_insert_with(|| json!("object"));
    schema.entry("properties").or_insert_with(|| json!({}));
    schema.entry("additionalProperties").or_insert_with(|| json!(false));
    schema
}

/// Texts of the task that look like placeholders stand for themselves: each is a parameter whose default it
/// is, and what is filled in is not read again.
fn keep_braces(template: &mut Template) {
    while let Some(name) = template.undeclared_text() {
        let itself = json!({"type": "string", "default": format!("{{{{{name}}}}}")});
        let Some(Value::Object(known)) = template.parameters.get_mut("properties") else { return };
        known.insert(name, itself);
    }
}

fn content_of(task: &Task) -> Result<Value, serde_json::Error> {
    Ok(json!({"goal": task.spec().goal, "steps": template_steps::of_task(task.steps())?}))
}

/// Puts a placeholder wherever one of the texts stands in goal, descriptions and arguments. Returns a text
/// that stands nowhere, if there is one.
fn generalise<'a>(value: &mut Value, replace: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let mut texts: Vec<Parameter<'a>> =
        replace.iter().map(|(name, text)| Parameter { name, text, is_used: false }).collect();
    // Of two that begin at the same place the longer one is meant.
    texts.sort_by_key(|parameter| std::cmp::Reverse(parameter.text.len()));
    generalise_each(value, &mut texts);
    texts.iter().find(|parameter| !parameter.is_used).map(|parameter| parameter.text)
}

/// A text that is to become a parameter.
struct Parameter<'a> {
    name: &'a str,
    text: &'a str,
    is_used: bool,
}

fn generalise_each(value: &mut Value, texts: &mut [Parameter<'_>]) {
    match value {
        Value::String(found) => *found = with_placeholders(found, texts),
        Value::Array(items) => items.iter_mut().for_each(|item| generalise_each(item, texts)),
        Value::Object(fields) => {
            let is_name = |key: &str| matches!(key, "id" | "type" | "name" | "$output");
            let texts_of = fields.iter_mut().filter(|(key, _)| !is_name(key));
            texts_of.for_each(|(_, field)| generalise_each(field, texts));
        }
        _ => {}
    }
}

/// One pass from the beginning to the end: what was put in is not looked at again, for it may hold the
/// text of another parameter.
fn with_placeholders(found: &str, texts: &mut [Parameter<'_>]) -> String {
    let mut whole = String::with_capacity(found.len());
    let mut rest = found;
    while let Some(letter) = rest.chars().next() {
        let here = texts.iter_mut().find(|known| !known.text.is_empty() && rest.starts_with(known.text));
        match here {
            Some(parameter) => {
                parameter.is_used = true;
                whole.push_str(&format!("{{{{{}}}}}", parameter.name));
                rest = &rest[parameter.text.len()..];
            }
            None => {
                whole.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    whole
}

fn wrong_steps(error: PlanError) -> OrchestratorError {
    OrchestratorError::Plan { list: "steps", error }
}

/// Whether a step is only wrong until its parameters are filled in.
fn may_be_parameter(error: &PlanError) -> bool {
    let PlanError::Steps(problems) = error else { return false };
    let parts = ["forEach", "when", "checks"];
    problems.iter().all(|problem| parts.iter().any(|part| problem.is_about(part)))
}

fn invalid(field: &'static str, problem: String) -> OrchestratorError {
    OrchestratorError::Invalid { field, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generalised(goal: &str, replace: &[(&str, &str)]) -> Result<String, String> {
        let replace = replace.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut value = json!({"goal": goal});
        match generalise(&mut value, &replace) {
            None => Ok(value["goal"].as_str().unwrap().to_owned()),
            Some(text) => Err(text.to_owned()),
        }
    }

    #[test]
    fn a_parameter_is_not_looked_for_in_the_placeholder_of_another() {
        let made = generalised("Go to Berlin by city bus", &[("city", "Berlin"), ("kind", "city")]);
        assert_eq!(made.unwrap(), "Go to {{city}} by {{kind}} bus");
    }

    #[test]
    fn the_longest_text_counts_whatever_the_parameters_are_called() {
        let goal = "Go to Berlin by city bus, and see Berlin: schön";
        for (short, long) in [("a", "b"), ("b", "a")] {
            let made = generalised(goal, &[(short, "Berlin"), (long, "Berlin by city")]).unwrap();
            assert_eq!(made, format!("Go to {{{{{long}}}}} bus, and see {{{{{short}}}}}: schön"));
        }
    }

    #[test]
    fn braces_of_a_task_stay_what_they_are() {
        let made = json!({"name": "t", "goal": "Say {{weird}} to {{who}}", "steps": [],
            "parameters": {"properties": {"who": {"type": "string"}}}});
        let mut template: Template = serde_json::from_value(made).unwrap();
        keep_braces(&mut template);
        assert_eq!(template.undeclared(), None);
        let values = template.with_defaults(json!({"who": "me"}).as_object().unwrap());
        assert_eq!(template.fill(&values).unwrap().0, "Say {{weird}} to me");
    }

    #[test]
    fn a_text_that_stands_nowhere_is_named() {
        assert_eq!(generalised("Go to Berlin", &[("a", "Berlin"), ("b", "Paris")]), Err("Paris".to_owned()));
        assert_eq!(generalised("Go to Berlin", &[("a", "")]), Err(String::new()));
        let names = json!({"steps": [{"id": "x", "type": "x", "tool": {"name": "x"}}]});
        let replace = BTreeMap::from([("a".to_owned(), "x".to_owned())]);
        assert_eq!(generalise(&mut names.clone(), &replace), Some("x"), "ids and names stay what they are");
    }
}
