//! The machine and the day: figures mean little without them.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

/// Where something was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many threads run at once.
    pub cores: usize,
    /// Memory, in MB.
    pub memory_mb: u64,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one. What cannot be found out is `unknown` or 0.
    pub(crate) fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| value(&text, "model name"));
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| value(&text, "MemTotal"));
        let memory_kib = memory.and_then(|text| text.split(' ').next().and_then(|number| number.parse::<u64>().ok()));
        Self {
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mb: memory_kib.unwrap_or(0) * 1024 / 1_000_000,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!("{}, {} threads, {} MB, {}", self.cpu, self.cores, self.memory_mb, self.system)
    }
}

/// Watches what else the machine does while a case runs: what others use, neither side gets, and it hurts the side more whose threads
/// wait for each other.
pub(crate) struct Watch {
    start: Instant,
    all_ms: Option<f64>,
    own_ms: f64,
}

/// The part of the machine that others may use before a reader is warned.
const OTHERS_MAX: f64 = 0.03;

impl Watch {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), all_ms: all_ms(), own_ms: own_ms() }
    }

    /// A warning if others used the machine. None if they did not, or if it cannot be found out.
    pub(crate) fn warning(&self) -> Option<String> {
        let others_ms = all_ms()? - self.all_ms? - (own_ms() - self.own_ms);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let part = others_ms / (self.start.elapsed().as_secs_f64() * 1000.0 * cores as f64);
        let text = format!("NOISY: other programs used {:.0} % of the machine meanwhile; measure again", part * 100.0);
        (part > OTHERS_MAX).then_some(text)
    }
}

/// Processor time that this process and its children that have ended used so far.
fn own_ms() -> f64 {
    let usage = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(getrusage);
    let times = usage.into_iter().flatten().flat_map(|usage| [usage.user_time(), usage.system_time()]);
    times.map(|time| time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0).sum()
}

/// Processor time that the machine spent so far, also for other machines beside it. Linux only.
fn all_ms() -> Option<f64> {
    spent_ms(&fs::read_to_string("/proc/stat").ok()?)
}

/// Of the first line: user, nice, system, (idle, iowait,) irq, softirq, steal; in hundredths of a second.
fn spent_ms(stat: &str) -> Option<f64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).enumerate();
    let spent = numbers.filter(|(place, _)| !matches!(place, 3 | 4)).map(|(_, number)| number.parse::<f64>().ok());
    Some(spent.sum::<Option<f64>>()? * 10.0)
}

/// The first value of a name in a text of `name : value` lines.
fn value(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

/// Today, UTC.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The day so many days after 1 January 1970. Source: H. Hinnant, "chrono-compatible low-level date algorithms".
fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!([0, 59, 11_016, 20_778].map(date), ["1970-01-01", "1970-03-01", "2000-02-29", "2026-11-21"]);
    }

    #[test]
    fn time_spent_leaves_out_idle_and_waiting() {
        assert_eq!(spent_ms("cpu  1 2 3 400 500 6 7 8 9 10\ncpu0 1 2 3\n"), Some(270.0));
        assert_eq!(spent_ms("intr 1\n"), None);
    }

    #[test]
    fn values_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(value(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(value(text, "model"), None);
    }
}
