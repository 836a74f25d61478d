//! Ctrl-C and SIGTERM: the first finishes what is in hand (the batch being computed, and those just before and after it that are begun), the
//! second stops at once.
//!
//! One wish can come as two signals: a terminal sends Ctrl-C to the whole process group, and a parent (`cargo run`, a
//! supervisor) forwards its own besides. What follows the first within a moment is the same wish.

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

/// How long a message may take to reach the screen before its signal takes effect anyway. A guess: not to be noticed.
const SCREEN_GRACE: Duration = Duration::from_millis(100);

/// A signal so soon after the first is the same one. A guess: longer than forwarding takes, shorter than a person who means
/// it a second time.
const ECHO: Duration = Duration::from_millis(300);

/// Listens from now on, on the runtime's threads.
///
/// **Errors**: MP0901 when the operating system refuses.
pub(crate) fn listen(runtime: &Runtime, stop: &StopSignal, screen: &Screen) -> Result<(), Error> {
    let signals = register(runtime)?;
    runtime.spawn(stop_on_signals(signals, stop.clone(), screen.clone()));
    Ok(())
}

/// Calls `act` for each signal from now on.
///
/// **Errors**: MP0901 when the operating system refuses.
pub(crate) fn on_each(runtime: &Runtime, act: impl Fn() + Send + 'static) -> Result<(), Error> {
    let mut signals = register(runtime)?;
    runtime.spawn(async move {
        loop {
            signals.next().await;
            act();
        }
    });
    Ok(())
}

fn register(runtime: &Runtime) -> Result<Signals, Error> {
    let _guard = runtime.enter();
    let register = |kind| signal(kind).map_err(|source| Error::SetUp { what: "no signal handler", source });
    Ok(Signals { interrupt: register(SignalKind::interrupt())?, terminate: register(SignalKind::terminate())? })
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// One signal after the other.
trait Listen: Send {
    /// Waits for the next one.
    fn next(&mut self) -> impl Future<Output = ()> + Send;
}

impl Listen for Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a signal that comes after `echo` is over; those that come before do not count.
async fn after_echo(signals: &mut impl Listen, echo: impl Future<Output = ()>) {
    tokio::pin!(echo);
    loop {
        tokio::select! {
            // Both may be ready when the thread was busy: what came in time does not count.
            biased;
            () = signals.next() => {}
            () = &mut echo => break,
        }
    }
    signals.next().await;
}

async fn stop_on_signals(mut signals: Signals, stop: StopSignal, screen: Screen) {
    signals.next().await;
    let echo = tokio::time::sleep(ECHO);
    show(&screen, |screen| screen.message("stopping after the batch in hand; once more to stop at once")).await;
    stop.finish();
    after_echo(&mut signals, echo).await;
    show(&screen, |screen| screen.message("stopping at once; what was committed stays")).await;
    stop.abort();
    tokio::select! {
        () = signals.next() => {}
        () = tokio::time::sleep(ABORT_GRACE) => {}
    }
    show(&screen, Screen::end_live).await;
    std::process::exit(i32::from(Exit::Aborted.code()));
}

/// Changes the screen on a thread of its own, and waits only a moment for it: when nobody reads what the job writes (a
/// pager does so), the screen may be taken for long, and signals must be heard all the same.
async fn show(screen: &Screen, change: impl FnOnce(&Screen) + Send + 'static) {
    let screen = screen.clone();
    let shown = tokio::task::spawn_blocking(move || change(&screen));
    // Neither a late nor a lost message changes what the signal means.
    tokio::time::timeout(SCREEN_GRACE, shown).await.ok();
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    impl Listen for mpsc::UnboundedReceiver<()> {
        async fn next(&mut self) {
            self.recv().await.expect("the sender lives");
        }
    }

    #[test]
    fn signals_close_behind_the_first_are_the_same_one() {
        let (signal, mut signals) = mpsc::unbounded_channel();
        let (over, echo) = oneshot::channel::<()>();
        let mut waiting = pin!(after_echo(&mut signals, async { echo.await.expect("it is sent") }));
        let mut is_over = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        signal.send(()).unwrap();
        signal.send(()).unwrap();
        assert!(!is_over());
        over.send(()).unwrap();
        assert!(!is_over());
        signal.send(()).unwrap();
        assert!(is_over());
    }
}
