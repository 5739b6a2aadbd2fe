//! What this process takes of its machine, as far as Linux tells it; nothing elsewhere.

use std::fs;

use super::text::{Kind, Page};

/// Clock ticks per second, as Linux shows times to programs on every architecture that it runs on.
const TICKS: f64 = 100.0;

pub(super) fn tell(page: &mut Page) {
    let mut gauge = |name, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, Kind::Gauge, help);
            page.sample("", &[], value);
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    gauge("process_resident_memory_bytes", "Memory.", field(&status, "VmRSS:").map(|kib| kib * 1024.0));
    gauge("process_threads", "Threads.", field(&status, "Threads:"));
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    gauge("process_open_fds", "Open files and connections.", open);
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        page.family("process_cpu_seconds_total", Kind::Counter, "Processor time.");
        page.sample("", &[], seconds);
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// User and system time are the 14th and 15th field; the second one, the name of the program in
/// brackets, may contain blanks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut behind = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || behind.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 200 300";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(field("VmRSS:\t  100 kB\nThreads:\t9\n", "Threads:"), Some(9.0));
    }
}
