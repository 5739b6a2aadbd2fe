//! Tasks that are taken without a job: as many as all workers on the queue, those in Node too, agreed on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::QueueLimiter;

/// Asks the queue as BullMQ asks it for the next job, and counts what is granted where jobs are counted.
/// None is granted while the queue is paused, or, unless the caller insists, while jobs wait: they come by themselves.
/// Gives how many, or -1 while it is paused, and for how many milliseconds they count.
const GRANT: &str = r"
local meta = redis.call('HMGET', KEYS[1], 'paused', 'concurrency', 'max', 'duration')
if meta[1] then return {-1, 0} end
if ARGV[4] == '0' and redis.call('LLEN', KEYS[4]) + redis.call('ZCARD', KEYS[5]) > 0 then return {0, 0} end
local granted = tonumber(ARGV[1])
if meta[2] then granted = math.min(granted, tonumber(meta[2]) - redis.call('LLEN', KEYS[2])) end
local max = tonumber(meta[3] or ARGV[2])
if max > 0 then
  granted = math.min(granted, max - tonumber(redis.call('GET', KEYS[3]) or '0'))
end
if granted <= 0 then return {0, 0} end
if max == 0 then return {granted, 0} end
if redis.call('INCRBY', KEYS[3], granted) == granted then
  redis.call('PEXPIRE', KEYS[3], tonumber(ARGV[3]) > 0 and ARGV[3] or meta[4])
end
return {granted, redis.call('PTTL', KEYS[3])}";

/// Counts less, if that is still counted.
const RETURN: &str = r"
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then redis.call('DECRBY', KEYS[1], ARGV[1]) end";

/// What was granted last.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Until when it counts.
    counts: Mutex<Option<Instant>>,
    /// Whether the queue was paused then.
    was_paused: AtomicBool,
}

impl Allowance {
    /// Takes up to `tasks` tasks, and returns how many those are.
    pub(super) async fn take(
        &self,
        queue: &bullmq::Queue,
        limiter: Option<QueueLimiter>,
        tasks: usize,
        insists: bool,
    ) -> Result<usize, bullmq::Error> {
        let keys = queue.keys();
        let mut script = redis::cmd("EVAL");
        script.arg(GRANT).arg(5);
        script
            .arg(keys.meta())
            .arg(keys.active())
            .arg(keys.limiter())
            .arg(keys.wait())
            .arg(keys.prioritized());
        let millis = limiter.map_or(0, |limiter| limiter.duration.as_millis());
        script.arg(tasks).arg(limiter.map_or(0, |limiter| limiter.max));
        script.arg(u64::try_from(millis).unwrap_or(u64::MAX)).arg(u8::from(insists));
        let asked = Instant::now();
        let (granted, millis): (i64, i64) = queue.connection().cmd(&mut script).await?;
        let counts = u64::try_from(millis).ok().filter(|millis| *millis > 0).map(Duration::from_millis);
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts.map(|counts| asked + counts);
        self.tell_of_pause(granted < 0);
        Ok(usize::try_from(granted).unwrap_or(0))
    }

    /// Says once why due tasks are not begun.
    fn tell_of_pause(&self, is_paused: bool) {
        match (self.was_paused.swap(is_paused, Ordering::Relaxed), is_paused) {
            (false, true) => {
                tracing::warn!("the queue is paused in Redis: due tasks wait until it is resumed")
            }
            (true, false) => tracing::info!("the queue is not paused any more"),
            _ => {}
        }
    }

    /// Gives those back that there was nothing to take for.
    pub(super) async fn give_back(&self, queue: &bullmq::Queue, tasks: usize) -> Result<(), bullmq::Error> {
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_none_or(|until| until <= Instant::now()) {
            return Ok(());
        }
        let mut script = redis::cmd("EVAL");
        script.arg(RETURN).arg(1).arg(queue.keys().limiter()).arg(tasks);
        queue.connection().cmd(&mut script).await
    }
}
