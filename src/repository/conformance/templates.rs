//! Templates are written once for each version.

use futures::FutureExt;
use serde_json::json;

use super::world::{World, now};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{RepositoryError, TemplateVersion};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a version of a template is read as it was written", |world| read(world).boxed()),
    ("a version of a template is written once", |world| once(world).boxed()),
    ("templates are listed by name, each with its newest version", |world| listed(world).boxed()),
];

fn version(world: &World, name: &str, version: u32) -> Result<TemplateVersion, Broken> {
    let template = serde_json::from_value(json!({
        "name": name, "description": "Looks", "goal": format!("Look {version}: {{{{term}}}}"), "preset": "small",
        "parameters": {"type": "object", "properties": {"term": {"type": "string", "default": "x\u{0}y"}}},
        "steps": [{"id": "step-1", "description": "Look", "type": "tool-call",
            "tool": {"name": "search", "arguments": {"term": {"$param": "term"}}}}],
    }));
    let template = template.map_err(|error| Broken(error.to_string()))?;
    Ok(TemplateVersion { user_id: world.user.clone(), version, created_at: now(), template })
}

async fn read(world: World) -> Verdict {
    let templates = world.repository.templates();
    let mut written = version(&world, "look", 1)?;
    templates.add(&written).await?;
    let found = templates.get(&world.user, "look", None).await?;
    written.template.parameters =
        found.as_ref().map(|found| found.template.parameters.clone()).unwrap_or_default();
    let text = serde_json::Value::from(written.template.parameters.clone()).to_string();
    ensure!(text.contains("x\u{fffd}y"), "NUL became {text}");
    ensure!(found.as_ref() == Some(&written), "{found:?} instead of {written:?}");
    ensure!(templates.get("nobody", "look", None).await?.is_none(), "somebody else's is shown");
    ensure!(templates.get(&world.user, "look", Some(2)).await?.is_none(), "there is no second version");
    Ok(())
}

async fn once(world: World) -> Verdict {
    let templates = world.repository.templates();
    for number in [1, 2] {
        templates.add(&version(&world, "look", number)?).await?;
    }
    let again = templates.add(&version(&world, "look", 2)?).await;
    ensure!(matches!(again, Err(RepositoryError::Stale)), "written twice: {again:?}");
    let newest = templates.get(&world.user, "look", None).await?.map(|found| found.version);
    ensure!(newest == Some(2), "the newest is {newest:?}");
    let first = templates.get(&world.user, "look", Some(1)).await?;
    ensure!(first.is_some_and(|first| first.template.goal == "Look 1: {{term}}"), "the first is gone");
    ensure!(templates.remove(&world.user, "look").await?, "it was not there");
    ensure!(!templates.remove(&world.user, "look").await?, "it was there still");
    ensure!(templates.get(&world.user, "look", None).await?.is_none(), "it is there after it was removed");
    ensure!(templates.get(&world.user, "look", Some(1)).await?.is_none(), "a version of it is there");
    ensure!(templates.newest(&world.user, "", 9).await?.is_empty(), "it is listed after it was removed");
    let last = templates.last_version(&world.user, "look").await?;
    ensure!(last == 2, "the last version is {last}");
    let never = templates.last_version(&world.user, "never").await?;
    ensure!(never == 0, "of what was never written the last version is {never}");
    let same = templates.add(&version(&world, "look", 2)?).await;
    ensure!(matches!(same, Err(RepositoryError::Stale)), "a number was given twice: {same:?}");
    templates.add(&version(&world, "look", 3)?).await?;
    let newest = templates.get(&world.user, "look", None).await?.map(|found| found.version);
    ensure!(newest == Some(3), "the newest is {newest:?}");
    Ok(())
}

async fn listed(world: World) -> Verdict {
    let templates = world.repository.templates();
    let other = World::new(world.repository.clone());
    for (world, name, number) in
        [(&world, "b", 1), (&world, "a", 1), (&world, "b", 2), (&other, "c", 1), (&world, "d", 1)]
    {
        templates.add(&version(world, name, number)?).await?;
    }
    let page = async |after: &str| -> Result<Vec<(String, u32)>, Broken> {
        let page = templates.newest(&world.user, after, 2).await?;
        Ok(page.into_iter().map(|found| (found.template.name, found.version)).collect())
    };
    let first = page("").await?;
    ensure!(first == [("a".to_owned(), 1), ("b".to_owned(), 2)], "{first:?}");
    let rest = page("b").await?;
    ensure!(rest == [("d".to_owned(), 1)], "{rest:?}");
    Ok(())
}
