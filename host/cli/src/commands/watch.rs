//! `millpond watch`: builds a job and runs it on its sample data, again whenever a file changes.
//!
//! The loop knows neither files nor jobs: it takes events and calls what it is given, so its test needs neither a folder nor time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millpond_core::StopSignal;

use super::{Failure, io_runtime, run};
use crate::args::{JobArgs, LogFormat, RunArgs, WatchArgs};
use crate::error::Error;
use crate::file_events::{Event, Events, FolderEvents};
use crate::job_file::{self, JobFile};
use crate::render::render;
use crate::screen::Screen;
use crate::signals;
use crate::text::printable;

/// A save is several events, and often several files: so long must nothing happen before it is acted upon. A guess: longer than an
/// editor takes to save all, shorter than a person notices.
const QUIET: Duration = Duration::from_millis(150);

/// Runs until Ctrl-C.
pub fn watch(args: &WatchArgs, format: LogFormat, screen: &Screen) -> Result<(), Failure> {
    let path = job_file::resolve(&args.job.job)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut events, sender) = FolderEvents::try_new(dir)?;
    let state = tempfile::tempdir().map_err(|source| Error::SetUp { what: "no temporary folder", source })?;
    // What runs now is stopped by the same signal that ends the loop.
    let running = Arc::new(Mutex::new(StopSignal::new()));
    let runtime = io_runtime()?;
    let stop_running = Arc::clone(&running);
    signals::on_each(&runtime, move || {
        stop_running.lock().unwrap_or_else(PoisonError::into_inner).abort();
        // The loop may be over already.
        sender.send(Event::Stop).ok();
    })?;
    each_change(&mut events, |changed| {
        if let Some(changed) = changed {
            screen.message(&format!("-- {}", printable(&changed.display().to_string())));
        }
        let stop = StopSignal::new();
        *running.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
        let result = once(&path, &args.job, state.path()).and_then(|args| run::run_until(&args, format, screen, &stop));
        match result {
            Err(Failure::BeforeStart(error) | Failure::Job(error)) => {
                screen.message(&render(&error, screen.err_is_colored()));
            }
            Ok(()) | Err(Failure::Aborted) => {}
        }
        if !stop.is_raised() {
            screen.message(&format!("-- waiting for a change in {}; Ctrl-C ends it", dir.display()));
        }
    });
    runtime.shutdown_background();
    Ok(())
}

/// Calls `act` at once, and again after each burst of changes, with the last path of it, until it is told to stop.
fn each_change(events: &mut impl Events, mut act: impl FnMut(Option<&Path>)) {
    act(None);
    while let Some(path) = next_burst(events) {
        act(Some(&path));
    }
}

/// The last path of the next burst of changes, when it is over; `None` = stop.
fn next_burst(events: &mut impl Events) -> Option<PathBuf> {
    let mut latest = loop {
        match events.next(None) {
            Event::Changed(path) => break path,
            Event::Stop => return None,
            Event::Quiet => {}
        }
    };
    loop {
        match events.next(Some(QUIET)) {
            // Many editors write another file first and give it the name afterwards.
            Event::Changed(path) => latest = path,
            Event::Quiet => return Some(latest),
            Event::Stop => return None,
        }
    }
}

/// How the job is run: from the beginning to the end of its input, printing, with state that nobody keeps.
fn once(path: &Path, args: &JobArgs, state: &Path) -> Result<RunArgs, Failure> {
    let file = JobFile::load(path, &args.set)?;
    let mut set = args.set.clone();
    set.push("job.trigger=\"available-now\"".to_owned());
    set.extend(file.sinks.keys().map(|name| format!("sinks.{}.type=\"console\"", toml_key(name))));
    let job = JobArgs { set, ..args.clone() };
    Ok(RunArgs { job, state: Some(state.to_owned()), fresh: true, report: None })
}

fn toml_key(name: &str) -> String {
    format!("{name:?}")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Events that a test has written down.
    struct Script(VecDeque<Event>);

    impl Events for Script {
        fn next(&mut self, limit: Option<Duration>) -> Event {
            // Who waits without limit is not told that nothing happens.
            let skipped = self.0.front() == Some(&Event::Quiet) && limit.is_none();
            assert!(!skipped, "a wait without end");
            self.0.pop_front().unwrap_or(Event::Stop)
        }
    }

    fn acts(events: impl IntoIterator<Item = Event>) -> Vec<Option<PathBuf>> {
        let mut acts = Vec::new();
        let mut script = Script(events.into_iter().collect());
        each_change(&mut script, |path| acts.push(path.map(Path::to_owned)));
        assert!(script.0.is_empty(), "it ends only when it is told to");
        acts
    }

    #[test]
    fn it_runs_at_once_and_after_each_burst_of_changes() {
        let changed = |path: &str| Event::Changed(path.into());
        let events = [
            changed("src/lib.rs.new"),
            changed("src/lib.rs.new"),
            changed("src/lib.rs"),
            Event::Quiet,
            changed("data/a.txt"),
            Event::Quiet,
            Event::Stop,
        ];
        assert_eq!(acts(events), [None, Some("src/lib.rs".into()), Some("data/a.txt".into())]);
    }

    #[test]
    fn a_stop_ends_it_also_in_a_burst() {
        assert_eq!(acts([Event::Stop]), [None]);
        assert_eq!(acts([Event::Changed("a".into()), Event::Stop]), [None]);
    }

    #[test]
    fn a_run_touches_nothing_that_the_job_file_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("millpond.toml");
        let text = "[job]\ntrigger = \"continuous\"\n[sources.a]\ntype = \"files\"\npath = \"in\"\n\
                    [sinks.\"my out\"]\ntype = \"file\"\npath = \"out\"\nmode = \"complete\"\n";
        std::fs::write(&path, text).unwrap();
        let args =
            JobArgs { job: path.clone(), set: vec!["job.parallelism=3".to_owned()], no_build: false, perf_map: false };
        let once = once(&path, &args, Path::new("/tmp/state")).unwrap();
        let file = JobFile::load(&path, &once.job.set).unwrap();
        assert_eq!(file.job.trigger, millpond_engine::Trigger::AvailableNow);
        assert_eq!(file.job.parallelism, 3);
        assert!(file.sinks["my out"].files.is_none());
        assert!(once.fresh && once.state.is_some());
    }
}
