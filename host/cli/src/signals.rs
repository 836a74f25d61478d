//! Ctrl-C and SIGTERM: the first finishes the batch in hand, the second stops at once.

use std::time::Duration;

use millpond_core::StopSignal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Exit;
use crate::error::Error;
use crate::screen::Screen;

/// How long an aborted job may take to let go before the process ends without it: a person who pressed Ctrl-C twice
/// means it, and what was committed is safe in any case.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Listens from now on, on the runtime's threads.
///
/// **Errors**: MP0901 when the operating system refuses.
pub(crate) fn listen(runtime: &Runtime, stop: &StopSignal, screen: &Screen) -> Result<(), Error> {
    let guard = runtime.enter();
    let register = |kind| signal(kind).map_err(|source| Error::SetUp { what: "no signal handler", source });
    let signals =
        Signals { interrupt: register(SignalKind::interrupt())?, terminate: register(SignalKind::terminate())? };
    drop(guard);
    runtime.spawn(stop_on_signals(signals, stop.clone(), screen.clone()));
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn stop_on_signals(mut signals: Signals, stop: StopSignal, screen: Screen) {
    signals.next().await;
    screen.message("stopping after the batch in hand; once more to stop at once");
    stop.finish();
    signals.next().await;
    screen.message("stopping at once; what was committed stays");
    stop.abort();
    tokio::select! {
        () = signals.next() => {}
        () = tokio::time::sleep(ABORT_GRACE) => {}
    }
    screen.end_live();
    std::process::exit(i32::from(Exit::Aborted.code()));
}
