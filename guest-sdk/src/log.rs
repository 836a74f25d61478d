//! Messages to the job's log: the one thing of the host that a plugin may use.
//!
//! In a component they go to the host, which prints them with the job's name. Natively they go to standard error, or to
//! the hook that a test kit set.

use std::fmt::Display;
use std::sync::OnceLock;

pub use crate::bindings::millpond::plugin::log::Level;

/// Receives messages natively.
pub type Hook = fn(Level, &str);

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Sends native messages to `hook` instead of standard error. The first hook stays; returns whether this is it.
///
/// Has no effect in a component.
pub fn set_native_hook(hook: Hook) -> bool {
    HOOK.set(hook).is_ok()
}

/// Writes one line at `level`.
///
/// **Cost**: one call out of the component. Past the job's log limit the host counts and drops messages.
pub fn write(level: Level, message: impl Display) {
    let message = message.to_string();
    if cfg!(target_arch = "wasm32") {
        crate::bindings::millpond::plugin::log::log(level, &message, true);
    } else if let Some(hook) = HOOK.get() {
        hook(level, &message);
    } else {
        eprintln!("{}: {message}", name(level));
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

macro_rules! levels {
    ($($function:ident $level:ident),* $(,)?) => {$(
        #[doc = concat!("Writes one line at level ", stringify!($function), ".")]
        pub fn $function(message: impl Display) {
            write(Level::$level, message);
        }
    )*};
}

levels!(trace Trace, debug Debug, info Info, warn Warn, error Error);

/// Makes a panic say what and where in the job's log before the component stops. Used by `job!` and `transform!`.
#[doc(hidden)]
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| error(panic_message(panic))));
}

fn panic_message(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let what = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => format!("panicked at {}:{}:{}: {what}", place.file(), place.line(), place.column()),
        None => format!("panicked: {what}"),
    }
}
