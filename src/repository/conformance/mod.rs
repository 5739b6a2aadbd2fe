//! What every repository promises, as checks that any of them can run.
//!
//! The suite is part of the library, so that a new engine can certify itself:
//!
//! ```no_run
//! # async fn example(repository: std::sync::Arc<dyn longhaul::repository::Repository>) {
//! for outcome in longhaul::repository::conformance::exercise(repository).await {
//!     println!("{}: {:?}", outcome.check, outcome.failure);
//! }
//! # }
//! ```
//!
//! It needs a database of its own: it claims whatever is due.

mod analytics;
mod chat;
mod children;
mod cluster;
mod fencing;
mod journal;
mod leases;
mod line;
mod people;
mod retention;
mod schedules;
mod tasks;
mod templates;
mod world;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::world::World;
use super::{Repository, RepositoryError};

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was checked, as a sentence.
    pub check: &'static str,
    /// What was found instead, if it does not hold.
    pub failure: Option<String>,
}

/// Why a check failed.
#[derive(Debug)]
struct Broken(String);

type Verdict = Result<(), Broken>;
type Check = fn(World) -> BoxFuture<'static, Verdict>;

impl From<RepositoryError> for Broken {
    fn from(error: RepositoryError) -> Self {
        Self(format!("{error} ({}): {error:?}", error.code()))
    }
}

impl From<crate::task::Illegal> for Broken {
    fn from(error: crate::task::Illegal) -> Self {
        Self(error.to_string())
    }
}

/// A promise that must hold, or the check fails with what was found.
macro_rules! ensure {
    ($holds:expr, $($found:tt)+) => {
        if !$holds {
            return Err(super::Broken(format!($($found)+)));
        }
    };
}
use ensure;

/// Runs all checks, one after another.
pub async fn exercise(repository: Arc<dyn Repository>) -> Vec<Outcome> {
    let checks: Vec<(&'static str, Check)> = [
        tasks::CHECKS,
        journal::CHECKS,
        fencing::CHECKS,
        leases::CHECKS,
        analytics::CHECKS,
        line::CHECKS,
        chat::CHECKS,
        children::CHECKS,
        cluster::CHECKS,
        people::CHECKS,
        retention::CHECKS,
        schedules::CHECKS,
        templates::CHECKS,
    ]
    .concat();
    let mut outcomes = Vec::with_capacity(checks.len());
    for (check, run) in checks {
        let mut failure = run(World::new(repository.clone())).await.err().map(|broken| broken.0);
        if failure.is_none() {
            failure = violations(repository.as_ref()).await;
        }
        outcomes.push(Outcome { check, failure });
    }
    outcomes
}

/// No check may leave a database behind in which an invariant does not hold.
async fn violations(repository: &dyn Repository) -> Option<String> {
    match repository.violations().await {
        Ok(violations) if violations.is_empty() => None,
        Ok(violations) => Some(format!("afterwards: {violations:?}")),
        Err(error) => Some(format!("the invariants cannot be checked: {error}")),
    }
}
