//! What Linux tells of a process: processor time and memory.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// The kernel counts processor time in these for `/proc`, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process so far, user and system; milliseconds, in steps of 10.
pub(super) fn cpu_ms(pid: u32) -> Result<u64> {
    stat_cpu_ms(&format!("/proc/{pid}/stat"))
}

/// Processor time so far of the threads of this process, microseconds, by their names without numbers (`job-7` is `job`).
/// Threads that have ended are not in it.
pub(super) fn threads_cpu_us() -> Result<BTreeMap<String, u64>> {
    let mut by_name = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task").context("this needs Linux's /proc")? {
        let task = entry?.path();
        // A thread may end between the look at the folder and the look at it.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        let Ok(times) = fs::read_to_string(task.join("schedstat")) else { continue };
        let name = name.trim_end().trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
        // Nanoseconds on a processor come first; `stat` would only count hundredths of a second.
        let ns: u64 = times.split(' ').next().and_then(|ns| ns.parse().ok()).context("a number comes first")?;
        *by_name.entry(name.to_owned()).or_default() += ns / 1000;
    }
    Ok(by_name)
}

fn stat_cpu_ms(path: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("{path} cannot be read; this needs Linux"))?;
    parse_stat(&text).with_context(|| format!("{path} is not as expected"))
}

/// Fields are counted from behind the name, which may have spaces and brackets in it.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(") ")?;
    let times = fields.split(' ').skip(11).take(2);
    let ticks: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>().ok()?;
    (ticks.len() == 2).then(|| ticks.iter().sum::<u64>() * 1000 / TICKS_PER_SECOND)
}

/// Memory of this process that is resident now; bytes.
pub(super) fn resident_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("this needs Linux's /proc")?;
    resident(&text).context("/proc/self/status does not say VmRSS")
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// How many threads this process has.
pub(super) fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task").context("this needs Linux's /proc")?.count())
}

/// Whether `perf` has started this process, and will want to know the names of generated code.
pub(super) fn is_profiled() -> bool {
    let parent = std::os::unix::process::parent_id();
    fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|name| name.trim_end() == "perf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system() {
        let text = "77 (a name) (x) S 1 1 1 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 1 0 100 1 1";
        assert_eq!(parse_stat(text), Some(420));
        assert_eq!(parse_stat("77 (cut off) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
    }

    #[test]
    fn this_process_is_alive() {
        assert!(resident_bytes().unwrap() > 0 && threads().unwrap() > 0);
        cpu_ms(std::process::id()).unwrap();
    }
}
