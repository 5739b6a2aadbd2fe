//! Ids as people type them: the beginning or the end is enough where it is unique.

use super::error::CliError;
use crate::repository::{ListFilter, Repository};
use crate::task::TaskId;

/// Fewer characters than this would match by chance.
const LEAST: usize = 4;

/// Tasks looked through at once.
const PAGE: u32 = 1_000;

/// How many of several matches are named.
const SHOWN: usize = 5;

/// The task that a text names.
pub(super) async fn resolve(repository: &dyn Repository, text: &str) -> Result<TaskId, CliError> {
    let text = text.trim().trim_start_matches('…').to_lowercase();
    if let Ok(id) = text.parse::<TaskId>() {
        return Ok(id);
    }
    check(&text)?;
    let mut matches = Vec::new();
    let mut filter = ListFilter { limit: PAGE, ..ListFilter::default() };
    loop {
        let page = repository.list(&filter).await?;
        matches.extend(page.iter().map(|task| task.id).filter(|id| is_named(*id, &text)));
        match page.last() {
            Some(last) if page.len() == PAGE as usize => filter.before = Some(last.id),
            _ => break,
        }
    }
    match matches[..] {
        [id] => Ok(id),
        [] => Err(CliError::failed(
            "task_not_found",
            format!("there is no task '{text}': `longhaul task list` shows them"),
            None,
        )),
        _ => Err(ambiguous(&text, &matches)),
    }
}

fn check(text: &str) -> Result<(), CliError> {
    let is_id = text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    if text.len() >= LEAST && is_id {
        return Ok(());
    }
    let message =
        format!("'{text}' names no task: give an id, or at least {LEAST} characters of its beginning or end");
    Err(CliError::usage("task_id", message))
}

/// Whether a text is an id, or its beginning or end.
pub(super) fn is_named(id: TaskId, text: &str) -> bool {
    let (hyphenated, plain) = (id.to_string(), id.0.simple().to_string());
    [hyphenated, plain].iter().any(|id| id.starts_with(text) || id.ends_with(text))
}

fn ambiguous(text: &str, matches: &[TaskId]) -> CliError {
    let named: Vec<String> = matches.iter().take(SHOWN).map(TaskId::to_string).collect();
    let more = if matches.len() > SHOWN { ", …" } else { "" };
    let message =
        format!("'{text}' names {} tasks ({}{more}): give more of the id", matches.len(), named.join(", "));
    CliError::usage("task_ambiguous", message)
}

/// The end of an id: enough to name it in most databases. The beginning is the time, which
/// tasks of one minute share.
pub(super) fn short(id: TaskId) -> String {
    let text = id.to_string();
    text[text.len() - 8..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_name_a_task_and_the_middle_does_not() {
        let task = id("0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70");
        for text in ["0190", "0190a5e4-7c", "0190a5e47c", "6f70", "2b3c4d5e6f70", "1a-2b3c4d5e6f70"] {
            assert!(is_named(task, text), "{text}");
        }
        assert!(!is_named(task, "7c3b"));
        assert!(is_named(task, &short(task)));
    }

    #[test]
    fn too_short_or_strange_texts_are_refused() {
        for text in ["", "abc", "goal", "12%4"] {
            assert_eq!(check(text).unwrap_err().code(), "task_id", "{text}");
        }
        assert!(check("12ab").is_ok());
    }

    #[test]
    fn several_matches_are_named() {
        let matches = vec![id("0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70"); 6];
        let error = ambiguous("0190", &matches).to_string();
        assert!(error.contains("names 6 tasks") && error.contains(", …"), "{error}");
    }

    #[tokio::test]
    async fn a_task_is_found_by_what_is_typed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let repository = crate::repository::SqliteRepository::open(&path, Default::default()).await.unwrap();
        repository.prepare().await.unwrap();
        let error = resolve(&repository, "ffff").await.unwrap_err();
        assert_eq!((error.code(), error.exit()), ("task_not_found", crate::cli::Exit::Failed));
        let known = id("0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70");
        assert_eq!(resolve(&repository, &known.to_string()).await.unwrap(), known);
    }
}
