//! What this process has consumed.

use std::time::Duration;

/// Ticks per second of the times in `/proc`: 100 on every Linux that Rust runs on.
const TICKS: u64 = 100;

/// The processor time of all threads so far; `None` where there is no `/proc`.
pub(super) fn cpu_time() -> Option<Duration> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The largest memory this process has had, in bytes; `None` where there is no `/proc`.
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn parse(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses and may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("nonsense"), None);
    }
}
