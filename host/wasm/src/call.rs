//! One call of a guest: its deadline, its counters, and what its errors mean.
//!
//! The deadline is wall time. The engine's ticker interrupts every running guest some hundred times a second (wasmtime's
//! epochs, here "deadline ticks"); only the first interruption after the deadline stops the guest, so a late ticker
//! never lengthens a call by more than one tick.

use std::str::Utf8Error;
use std::sync::Arc;
use std::time::Duration;

use millpond_core::Clock;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::accumulate::{HandedOver, Misuse};
use crate::error::{Bytes, Error, GuestTrace, Place, Result, printable};
use crate::limits::{Limits, MemoryGuard, Refused, STACK_BYTES_DEFAULT};
use crate::log::GuestLog;

/// How often running guests are interrupted. A few milliseconds: fine enough for limits of tens of milliseconds, and not
/// to be seen in a profile.
pub(crate) const TICK: Duration = Duration::from_millis(3);

/// Frames that are captured, of which [`FRAMES_SHOWN`] are shown: enough to tell endless recursion from a plain trap.
pub(crate) const FRAMES_CAPTURED: usize = 64;
const FRAMES_SHOWN: usize = 10;
/// How many frames of a language's own handling may have been left out: a panic has eight.
const RUNTIME_FRAMES_MAX: usize = 16;
/// A guess: Rust's mangled names are rarely longer.
const FRAME_NAME_BYTES_MAX: usize = 200;

/// Room on a call's own thread for what the host itself needs below and above the guest.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What wasmtime says when an answer is larger than a store's allowance. It has no public type; a test holds on to it.
const OUTPUT_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// What a store carries for the host.
pub(crate) struct HostState {
    pub(crate) memory: MemoryGuard,
    pub(crate) handed_over: HandedOver,
    log: GuestLog,
    clock: Arc<dyn Clock>,
    started_us: u64,
    deadline_us: u64,
}

impl HostState {
    pub(crate) fn take_log(&mut self) -> GuestLog {
        std::mem::replace(&mut self.log, GuestLog::new(0))
    }

    pub(crate) fn put_log(&mut self, log: GuestLog) {
        self.log = log;
    }
}

/// The guest was still running at its deadline.
#[derive(Debug, thiserror::Error)]
#[error("the deadline was reached")]
struct DeadlineReached;

/// A store with all limits set.
pub(crate) fn store(engine: &wasmtime::Engine, clock: Arc<dyn Clock>, limits: &Limits) -> Store<HostState> {
    let state = HostState {
        memory: MemoryGuard::new(limits.memory_bytes),
        handed_over: HandedOver::NotNow,
        log: GuestLog::new(limits.log_bytes),
        clock,
        started_us: 0,
        deadline_us: 0,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(usize::try_from(limits.output_bytes).unwrap_or(usize::MAX));
    // Plugins have no resources; what handles there are is none of a plugin's business.
    store.set_max_component_handles(0);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        if state.clock.monotonic_us() >= state.deadline_us {
            Err(DeadlineReached.into())
        } else {
            Ok(UpdateDeadline::Continue(1))
        }
    });
    store
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallUsage {
    pub(crate) time_us: u64,
    pub(crate) log_dropped: u64,
}

/// Starts the clock and the counters of a call.
pub(crate) fn start(store: &mut Store<HostState>, place: &Place, limits: &Limits) {
    let state = store.data_mut();
    state.started_us = state.clock.monotonic_us();
    state.deadline_us = state.started_us.saturating_add(limits.call_time_ms.saturating_mul(1000));
    state.memory.start_call();
    state.handed_over = if place.task.is_some() { HandedOver::Nothing } else { HandedOver::NotNow };
    state.log.start_call(place);
    // The first tick only looks at the clock.
    store.set_epoch_deadline(1);
}

/// Ends a call: writes out its log and says what its error means.
pub(crate) fn end<R>(
    store: &mut Store<HostState>,
    place: &Place,
    limits: &Limits,
    result: wasmtime::Result<R>,
) -> (CallUsage, Option<String>, Result<R>) {
    let state = store.data_mut();
    let time_us = state.clock.monotonic_us().saturating_sub(state.started_us);
    let (log_dropped, last_error) = state.log.end_call();
    let failed = Failed { place, limits, refused: state.memory.refused(), time_us, last_error: last_error.clone() };
    let result = result.map_err(|error| failed.classify(&error));
    (CallUsage { time_us, log_dropped }, last_error, result)
}

/// Runs `work` where the guest's stack fits: here, or on a thread made for it when the limit was raised.
pub(crate) fn on_stack<R: Send>(stack_bytes: u64, work: impl FnOnce() -> R + Send) -> std::io::Result<R> {
    if stack_bytes <= STACK_BYTES_DEFAULT {
        return Ok(work());
    }
    let bytes = usize::try_from(stack_bytes).unwrap_or(usize::MAX).saturating_add(HOST_STACK_BYTES);
    std::thread::scope(|scope| {
        let dispatch = tracing::dispatcher::get_default(tracing::Dispatch::clone);
        let work = move || tracing::dispatcher::with_default(&dispatch, work);
        let thread = std::thread::Builder::new().name("millpond-guest".into()).stack_size(bytes);
        let handle = thread.spawn_scoped(scope, work)?;
        handle.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// A call that wasmtime gave up, and what is known of it.
struct Failed<'a> {
    place: &'a Place,
    limits: &'a Limits,
    refused: Option<Refused>,
    time_us: u64,
    last_error: Option<String>,
}

impl Failed<'_> {
    fn classify(self, error: &wasmtime::Error) -> Error {
        let place = Box::new(self.place.clone());
        let trap = error.downcast_ref::<Trap>().copied();
        let frames = frames(error);
        let recurses = recurses(&frames);
        let trace = GuestTrace { last_error: self.last_error, frames: frames.into_iter().take(FRAMES_SHOWN).collect() };
        let limit_stack = Bytes(self.limits.stack_bytes);

        if error.is::<DeadlineReached>() {
            let (limit_ms, reached_ms) = (self.limits.call_time_ms, self.time_us / 1000);
            return Error::CallTime { place, limit_ms, reached_ms, trace };
        }
        if let Some(Misuse(reason)) = error.downcast_ref() {
            return Error::Accumulator { place, reason: (*reason).to_owned() };
        }
        match (trap, self.refused) {
            (Some(Trap::StackOverflow), _) => {
                return Error::Stack { place, limit: limit_stack, hint: "", trace };
            }
            // Languages that keep a second stack in linear memory run out of that one first, and it looks like a stray pointer.
            (Some(Trap::MemoryOutOfBounds), None) if recurses => {
                let hint =
                    " (or the stack that the plugin's language keeps in its memory, which the plugin's linker sets)";
                return Error::Stack { place, limit: limit_stack, hint, trace };
            }
            (_, Some(Refused::Memory(wanted))) => {
                let (limit, wanted) = (Bytes(self.limits.memory_bytes), Bytes(wanted));
                return Error::Memory { place, limit, wanted, trace };
            }
            (_, Some(Refused::Table(elements))) => {
                let reason = format!("it asked for {elements} elements, more than any plugin needs");
                return Error::Resource { place, what: "a table of the plugin", reason };
            }
            (Some(trap), None) => {
                let text = trap.to_string();
                let trap = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
                return Error::Trap { place, trap, trace };
            }
            (None, None) => {}
        }
        malformed(place, self.limits, error)
    }
}

/// The guest returned, and its answer cannot be read.
fn malformed(place: Box<Place>, limits: &Limits, error: &wasmtime::Error) -> Error {
    if error.chain().any(|cause| cause.to_string().contains(OUTPUT_EXHAUSTED)) {
        return Error::Output { place, limit: Bytes(limits.output_bytes) };
    }
    if let Some(error) = error.downcast_ref::<Utf8Error>() {
        return Error::NotUtf8 { place, reason: format!("in a message or name: {error}") };
    }
    Error::Malformed { place, reason: error.root_cause().to_string() }
}

/// The names of the guest's functions, innermost first, without those of Rust's own panic and allocation handling. wasmtime
/// prints `0: 0x1f - module!name`, and only its printing demangles names.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let text = backtrace.to_string();
    let frames = text.lines().skip(1).filter_map(|line| {
        let (_, name) = line.split_once('!').or_else(|| line.split_once(" - "))?;
        Some(printable(&without_hashes(name), FRAME_NAME_BYTES_MAX))
    });
    let frames: Vec<String> = frames.collect();
    let is_runtime =
        |frame: &&String| ["__rustc::", "std::", "core::", "alloc::"].iter().any(|own| frame.starts_with(own));
    let first = frames.iter().take_while(is_runtime).count();
    // A trap inside the standard library still has its own frames when there are no others.
    let first = if first == frames.len() { 0 } else { first };
    frames[first..].to_vec()
}

/// `std[a543996e6e7dbf1e]::f` and `f::h067d6d5264d87be5` as `std::f` and `f`.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.rsplit_once("::h").filter(|(_, hash)| is_hash(hash)).map_or(name, |(name, _)| name);
    let mut clean = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        clean.push_str(before);
        match after.split_once(']').filter(|(hash, _)| is_hash(hash)) {
            Some((_, after)) => rest = after,
            None => {
                clean.push('[');
                rest = after;
            }
        }
    }
    clean + rest
}

/// Whether a full backtrace has only a handful of functions in it.
fn recurses(frames: &[String]) -> bool {
    let mut names: Vec<&String> = frames.iter().collect();
    names.sort_unstable();
    names.dedup();
    frames.len() >= FRAMES_CAPTURED - RUNTIME_FRAMES_MAX && names.len() <= FRAMES_CAPTURED / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_and_monotonous_backtrace_is_recursion() {
        let frames =
            |distinct: usize, depth: usize| (0..depth).map(|i| format!("f{}", i % distinct)).collect::<Vec<_>>();
        assert!(recurses(&frames(3, FRAMES_CAPTURED)));
        assert!(!recurses(&frames(40, FRAMES_CAPTURED)));
        assert!(!recurses(&frames(3, 10)));
    }

    #[test]
    fn names_lose_their_hashes_only() {
        assert_eq!(without_hashes("std[a543996e6e7dbf1e]::f::<[u8]>"), "std::f::<[u8]>");
        assert_eq!(without_hashes("hostile::f::h067d6d5264d87be5"), "hostile::f");
        assert_eq!(without_hashes("a[b"), "a[b");
        assert_eq!(without_hashes("$upper"), "$upper");
    }

    #[test]
    fn large_stacks_get_a_thread() {
        let here = std::thread::current().id();
        assert_eq!(on_stack(STACK_BYTES_DEFAULT, || std::thread::current().id()).unwrap(), here);
        assert_ne!(on_stack(8 << 20, || std::thread::current().id()).unwrap(), here);
    }
}
