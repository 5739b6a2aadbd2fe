//! What has to be known to use a queue in Redis.

use std::fmt;
use std::time::Duration;

use url::Url;

/// Which queue in which Redis, and how it is worked on.
#[derive(Clone)]
pub struct QueueConfig {
    /// `redis://` or, with TLS, `rediss://user:password@host:port/database`.
    pub url: String,
    /// The certificate of the only authority to trust with TLS, as PEM; without it the usual public ones.
    pub authority: Option<Vec<u8>>,
    /// What all keys begin with: `bull` unless the Node side says otherwise.
    pub prefix: String,
    /// The name of the queue. Everybody who uses it must use the same database of tasks.
    pub name: String,
    /// The name under which jobs are taken; one of the process is enough.
    pub worker: String,
    /// Jobs that are taken at the same time.
    pub concurrency: usize,
    /// How many jobs all workers on the queue, those in Node too, take in how much time.
    pub limiter: Option<QueueLimiter>,
    /// Within what time a due task is found that no job leads to.
    pub poll: Duration,
    /// How long a worker may be silent before its tasks go to another one.
    pub lease: Duration,
}

/// At most `max` jobs are taken within `duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimiter {
    /// Jobs.
    pub max: u64,
    /// In how much time.
    pub duration: Duration,
}

impl QueueConfig {
    /// The queue of the original in the Redis at `url`, as a worker with the usual pace reads it.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authority: None,
            prefix: "bull".to_owned(),
            name: "chat-tasks".to_owned(),
            worker: "longhaul".to_owned(),
            concurrency: 5,
            limiter: None,
            poll: Duration::from_secs(1),
            lease: Duration::from_secs(15),
        }
    }

    /// Where it is, without the password.
    pub(super) fn place(&self) -> String {
        let Ok(mut url) = Url::parse(&self.url) else { return "Redis".to_owned() };
        // Addresses that cannot have a password have nothing to hide.
        let _ = url.set_password(None);
        url.to_string()
    }
}

impl fmt::Debug for QueueConfig {
    // The address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConfig").field("place", &self.place()).field("name", &self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let config = QueueConfig::at("rediss://ada:s3cret@redis.example:6380/2");
        assert_eq!(config.place(), "rediss://ada@redis.example:6380/2");
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
