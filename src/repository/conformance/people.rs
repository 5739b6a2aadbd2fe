//! What waits for people is kept and found.

use futures::FutureExt;
use serde_json::json;

use super::world::{LONG, World, dispatched, now, returned, started};
use super::{Check, Verdict, ensure};
use crate::repository::{Lease, ListFilter, Requests};
use crate::task::{Effect, Event, OnExpiry, Pause, PauseReason, Payload, TaskId, Timestamp};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("what waits for people is found, by its user and by its expiry", |world| found(world).boxed()),
    ("an approval is read as it was given", |world| read(world).boxed()),
];

fn request(call: u32, expires_at: Timestamp) -> Event {
    Event::ApprovalRequested {
        step: 0,
        call,
        attempt: 1,
        tool: "tool".to_owned(),
        arguments: Payload::Inline(json!({"n": call})),
        effect: Effect::Unsafe,
        request_id: None,
        expires_at,
        because: None,
        on_expiry: OnExpiry::Deny,
    }
}

fn paused() -> Event {
    let pause = Pause::new(PauseReason::Approval, "approve it");
    Event::Paused { pause, by: "worker".to_owned() }
}

fn approved(call: u32) -> Event {
    Event::ApprovalGiven { step: 0, call, arguments: None, by: "somebody".to_owned() }
}

async fn found(world: World) -> Verdict {
    world.task("Waits for nobody", 1).await?;
    let id = world.task("Waits", 1).await?.id;
    let mut task = world.hold(id).await?;
    let expires_at = now().plus(LONG);
    world.commit(&mut task, vec![started(0), request(1, expires_at)], Lease::Keep).await?;
    let listed = async |requests: Requests| -> Result<Vec<TaskId>, super::Broken> {
        let user_id = Some(world.user.clone());
        let filter = ListFilter { user_id, requests: Some(requests), ..ListFilter::default() };
        Ok(world.repository.list(&filter).await?.iter().map(|task| task.id).collect())
    };
    ensure!(listed(Requests::Open).await? == [id], "while it works on");
    world.commit(&mut task, vec![paused()], Lease::Keep).await?;
    ensure!(listed(Requests::Open).await? == [id], "while it is paused");
    let soon = Timestamp::from_millis(expires_at.as_millis() - 1);
    ensure!(listed(Requests::ExpiredBy(soon)).await?.is_empty(), "before it expires");
    ensure!(listed(Requests::ExpiredBy(expires_at)).await? == [id], "when it expires");
    let resumed = Event::Resumed { by: "somebody".to_owned() };
    world.commit(&mut task, vec![approved(1), resumed], Lease::Keep).await?;
    ensure!(listed(Requests::Open).await?.is_empty(), "after the answer");
    Ok(())
}

async fn read(world: World) -> Verdict {
    let id = world.task("Approved", 1).await?.id;
    let mut task = world.hold(id).await?;
    let events = vec![started(0), request(1, now()), approved(1)];
    world.commit(&mut task, events, Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded == task, "another task came back: {:?}", loaded.step(0));
    let events = vec![dispatched(0, 1, Effect::Unsafe), returned(0, 1, json!("done"))];
    world.commit(&mut task, events, Lease::Keep).await?;
    ensure!(world.load(id).await? == task, "another task came back after the call");
    Ok(())
}
