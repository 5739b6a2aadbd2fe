//! Children: found by their parents, and seen to when they do not stand as those do.

use serde_json::json;

use super::world::{LONG, World, cancelled, started};
use super::{Check, Verdict, ensure};
use crate::repository::{Fate, Lease, ListFilter};
use crate::task::{Budget, Event, Parent, Pause, PauseReason, Payload, Reserve, Status, Task, TaskId, Usage};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("the children of a task are found, and lists can leave them out", |world| Box::pin(found(world))),
    ("a child that does not stand as its parent does is found", |world| Box::pin(strays(world))),
    ("news that a task waits for makes it due, and leaves a worker that holds it alone", |world| {
        Box::pin(due(world))
    }),
    ("a loaded task knows its child at work, with what was added for it", |world| Box::pin(known(world))),
];

fn called(child: TaskId) -> Event {
    Event::ChildStarted {
        step: 0,
        call: 1,
        attempt: 1,
        tool: "workflow_w".to_owned(),
        arguments: Payload::Inline(json!({})),
        request_id: None,
        child,
        template: None,
        grant: Budget { tokens: Some(10), ..Budget::default() },
    }
}

fn ended() -> Event {
    Event::ChildEnded {
        step: 0,
        call: 1,
        status: Status::Completed,
        result: Payload::Inline(json!("done")),
        is_error: false,
        usage: Usage::default(),
        taint: Default::default(),
        besides: Reserve::default(),
    }
}

fn paused(reason: PauseReason) -> Event {
    Event::Paused { pause: Pause::new(reason, "d"), by: "p".to_owned() }
}

fn resumed() -> Event {
    Event::Resumed { by: "p".to_owned() }
}

/// A task that waits for its child, given back for a minute; and that child.
async fn family(world: &World) -> Result<(Task, Task), super::Broken> {
    let mut parent = world.task("Parent", 1).await?;
    parent = world.hold(parent.id).await?;
    let of = Parent { task: parent.id, step: 0, call: 1, root: parent.id, depth: 1 };
    let (child, entries) = world.child_draft("Child", of)?;
    world.commit(&mut parent, vec![started(0), called(child.id)], Lease::Keep).await?;
    world.repository.create(&child, entries, None).await?;
    world.commit(&mut parent, vec![], Lease::Release(LONG)).await?;
    Ok((parent, child))
}

async fn found(world: World) -> Verdict {
    let (parent, child) = family(&world).await?;
    let of = |filter: ListFilter| ListFilter { user_id: Some(world.user.clone()), ..filter };
    let children = of(ListFilter { parent: Some(parent.id), ..ListFilter::default() });
    let listed = world.repository.list(&children).await?;
    let seen: Vec<_> = listed.iter().map(|task| (task.id, task.parent_id)).collect();
    ensure!(seen == [(child.id, Some(parent.id))], "children: {seen:?}");
    let roots = world.repository.list(&of(ListFilter { roots: true, ..ListFilter::default() })).await?;
    let seen: Vec<_> = roots.iter().map(|task| (task.id, task.parent_id)).collect();
    ensure!(seen == [(parent.id, None)], "roots: {seen:?}");
    let loaded = world.load(child.id).await?;
    ensure!(loaded.spec().parent.is_some_and(|of| of.task == parent.id && of.depth == 1), "{loaded:?}");
    end(&world, parent, child).await
}

/// Leaves nothing live behind.
async fn end(world: &World, mut parent: Task, mut child: Task) -> Verdict {
    if !child.status().is_terminal() {
        world.commit(&mut child, vec![cancelled()], Lease::Keep).await?;
    }
    if !parent.status().is_terminal() {
        world.commit(&mut parent, vec![cancelled()], Lease::Keep).await?;
    }
    Ok(())
}

async fn strays(world: World) -> Verdict {
    let (mut parent, mut child) = family(&world).await?;
    let fate = async |id: TaskId, expected: Option<Fate>| {
        let strays = world.repository.strays().await?;
        let found = strays.iter().find(|stray| stray.parent == id).map(|stray| stray.fate);
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    };
    fate(parent.id, None).await?;
    world.commit(&mut parent, vec![paused(PauseReason::User)], Lease::Keep).await?;
    fate(parent.id, Some(Fate::Pause)).await?;
    world.commit(&mut child, vec![paused(PauseReason::Parent)], Lease::Keep).await?;
    fate(parent.id, None).await?;
    world.commit(&mut parent, vec![resumed()], Lease::Keep).await?;
    fate(parent.id, Some(Fate::Resume)).await?;
    world.commit(&mut child, vec![resumed()], Lease::Keep).await?;
    // What its parent waits for is no reason to stop.
    world.commit(&mut parent, vec![paused(PauseReason::Budget)], Lease::Keep).await?;
    fate(parent.id, None).await?;
    world.commit(&mut parent, vec![cancelled()], Lease::Keep).await?;
    fate(parent.id, Some(Fate::End)).await?;
    world.commit(&mut child, vec![cancelled()], Lease::Keep).await?;
    fate(parent.id, None).await
}

async fn due(world: World) -> Verdict {
    let (parent, child) = family(&world).await?;
    ensure!(world.claim(parent.id, "early", LONG).await?.is_none(), "claimed before it was due");
    let mut written = world.load(parent.id).await?;
    world.commit(&mut written, vec![ended()], Lease::Due).await?;
    let Some(claimed) = world.claim(parent.id, "next", LONG).await? else {
        return Err(super::Broken("it did not become due".into()));
    };
    ensure!(claimed.crashes == 0, "{} crashes", claimed.crashes);
    let mut held = world.load(parent.id).await?;
    let message =
        Event::MessageReceived { text: Payload::text("m"), pictures: Vec::new(), by: "p".to_owned() };
    world.commit(&mut held, vec![message], Lease::Due).await?;
    ensure!(world.claim(parent.id, "thief", LONG).await?.is_none(), "it was taken from its worker");
    end(&world, held, child).await
}

async fn known(world: World) -> Verdict {
    let (mut parent, child) = family(&world).await?;
    let add = crate::task::TopUp { tokens: 5, ..crate::task::TopUp::default() };
    let of = Some(crate::task::CallAt { step: 0, call: 1 });
    world
        .commit(&mut parent, vec![Event::BudgetRaised { add, by: "p".into(), child: of }], Lease::Keep)
        .await?;
    let loaded = world.load(parent.id).await?;
    ensure!(loaded == parent, "loaded {loaded:?} instead of {parent:?}");
    let granted = loaded.children_at_work().next().map(|(_, _, known)| (known.task, known.grant.tokens));
    ensure!(granted == Some((child.id, Some(15))), "{granted:?}");
    world.commit(&mut parent, vec![ended()], Lease::Due).await?;
    let loaded = world.load(parent.id).await?;
    ensure!(loaded == parent && loaded.children_at_work().next().is_none(), "{loaded:?}");
    end(&world, parent, child).await
}
