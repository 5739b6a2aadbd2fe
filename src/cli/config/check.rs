//! Values that are of the right type and still make no sense.

use super::{Config, ConfigError, tables};

/// Refuses what would hang or never do anything.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let worker = &config.worker;
    at_least_one("worker.concurrency", u64::from(worker.concurrency))?;
    at_least_one("worker.pollMs", worker.poll_ms)?;
    at_least_one("worker.heartbeatMs", worker.heartbeat_ms)?;
    if worker.lease_ms < worker.heartbeat_ms.saturating_mul(2) {
        let problem = format!(
            "must be at least twice worker.heartbeatMs ({}): otherwise one late heartbeat loses the task",
            worker.heartbeat_ms
        );
        return Err(ConfigError::value("worker.leaseMs", problem));
    }
    if worker.limiter.max > 0 {
        at_least_one("worker.limiter.duration", worker.limiter.duration)?;
    }
    let orchestrator = &config.orchestrator;
    share("orchestrator.threshold", orchestrator.threshold)?;
    share("orchestrator.doubt", orchestrator.doubt)?;
    at_least_one("orchestrator.limits.maxSteps", u64::from(orchestrator.limits.max_steps))?;
    at_least_one("orchestrator.limits.maxTurns", u64::from(orchestrator.limits.max_turns))?;
    at_least_one("orchestrator.retry.maxAttempts", u64::from(orchestrator.retry.max_attempts))?;
    if !orchestrator.retry.factor.is_finite() || orchestrator.retry.factor < 1.0 {
        return Err(ConfigError::value("orchestrator.retry.factor", "must be 1.0 or more"));
    }
    if config.budget.0.soft_percent.is_some_and(|percent| percent > 100) {
        return Err(ConfigError::value("budget.softPercent", "must lie between 0 and 100"));
    }
    if let Some((key, problem)) = config.of_orchestrator().problem() {
        return Err(ConfigError::value(key, problem));
    }
    queue(config)?;
    at_least_one("database.connections", u64::from(config.database.connections))?;
    at_least_one("database.timeoutMs", config.database.timeout_ms)?;
    match &config.database.url {
        Some(url) if !tables::is_postgres(url) => Err(ConfigError::value(
            "database.url",
            "must begin with postgres:// (a file goes into database.path)",
        )),
        _ => Ok(()),
    }
}

fn queue(config: &Config) -> Result<(), ConfigError> {
    let queue = &config.queue;
    for (key, name) in [("queue.name", &queue.name), ("queue.prefix", &queue.prefix)] {
        if name.is_empty() || name.contains(':') {
            return Err(ConfigError::value(key, "must not be empty and must not hold a colon"));
        }
    }
    match &queue.url {
        Some(url) if !tables::is_redis(url) => Err(ConfigError::value(
            "queue.url",
            "(or REDIS_URL) must look like redis://host:6379/0, or rediss:// with TLS",
        )),
        _ => Ok(()),
    }
}

fn at_least_one(key: &'static str, value: u64) -> Result<(), ConfigError> {
    if value > 0 { Ok(()) } else { Err(ConfigError::value(key, "must be at least 1")) }
}

fn share(key: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::value(key, "must lie between 0 and 1"))
    }
}
