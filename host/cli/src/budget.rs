//! How many reports of one kind are shown: a file of garbage, or a connection that comes and goes, must not flood the log, and
//! must not hide what another source has to say.

use std::collections::BTreeMap;

/// So many reports of one subject are shown in a minute.
const SHOWN_MAX: u64 = 5;

/// How long a subject's allowance lasts.
const WINDOW_US: u64 = 60_000_000;

/// What is shown and what is only counted, by subject.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    subjects: BTreeMap<String, Allowance>,
}

#[derive(Debug, Default)]
struct Allowance {
    since_us: u64,
    seen: u64,
}

/// What to do with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Show it.
    Show,
    /// Show it, and that so many before it were not shown.
    ShowAfter(u64),
    /// Do not show it, but that there is more: it is the first one too many.
    Announce,
    /// Only count it.
    Hide,
}

impl Budget {
    /// Decides on a report of a subject.
    pub(crate) fn admit(&mut self, subject: &str, now_us: u64) -> Verdict {
        let allowance = self.subjects.entry(subject.to_owned()).or_default();
        let mut hidden = 0;
        if allowance.seen == 0 || now_us.saturating_sub(allowance.since_us) >= WINDOW_US {
            hidden = allowance.seen.saturating_sub(SHOWN_MAX);
            *allowance = Allowance { since_us: now_us, seen: 0 };
        }
        allowance.seen += 1;
        match (allowance.seen, hidden) {
            (1..=SHOWN_MAX, 0) => Verdict::Show,
            (1..=SHOWN_MAX, hidden) => Verdict::ShowAfter(hidden),
            (seen, _) if seen == SHOWN_MAX + 1 => Verdict::Announce,
            _ => Verdict::Hide,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn five_a_minute_are_shown_and_the_rest_is_told_later() {
        let mut budget = Budget::default();
        let verdicts: Vec<_> = (0..100).map(|n| budget.admit("lines", n * 1000)).collect();
        assert_eq!(verdicts[..5], [Verdict::Show; 5]);
        assert_eq!(verdicts[5], Verdict::Announce);
        assert!(verdicts[6..].iter().all(|verdict| *verdict == Verdict::Hide));
        assert_eq!(budget.admit("lines", 59 * S), Verdict::Hide);
        assert_eq!(budget.admit("lines", 60 * S), Verdict::ShowAfter(96));
        assert_eq!(budget.admit("lines", 61 * S), Verdict::Show);
    }

    #[test]
    fn nothing_hidden_is_not_told() {
        let mut budget = Budget::default();
        for minute in 0..3 {
            for _ in 0..5 {
                assert_eq!(budget.admit("lines", minute * 60 * S), Verdict::Show);
            }
        }
    }

    #[test]
    fn subjects_do_not_take_from_each_other() {
        let mut budget = Budget::default();
        for _ in 0..100 {
            budget.admit("lines", 0);
        }
        assert_eq!(budget.admit("words", 0), Verdict::Show);
    }
}
