//! What one call of a component may use, and the guard that counts its memory.
//!
//! Time is counted in `call.rs`, output by wasmtime's lifting allowance, log in `log.rs`, the stack by the engine.

use wasmtime::ResourceLimiter;

use crate::error::{Bytes, Error, Result};

/// Limits of every call, on by default; `[limits]` in the job file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all its memories together. Bytes; `limits.memory`; 256 MiB.
    pub memory_bytes: u64,
    /// Wall time of one call, crossing the boundary included. Milliseconds; `limits.call-time`; 10 s.
    pub call_time_ms: u64,
    /// What one call may return. Bytes; `limits.output`; 256 MiB.
    pub output_bytes: u64,
    /// What one call may log, each message with 32 bytes on top. Bytes; `limits.log`; 64 KiB. The rest is counted and dropped.
    pub log_bytes: u64,
    /// One broadcast value. Bytes; `limits.broadcast`; 64 MiB. Every instance holds it in its memory.
    pub broadcast_bytes: u64,
    /// The call stack. Bytes; `limits.stack`; 1 MiB, 64 KiB to 256 MiB. Above the default each call runs on a thread of its own.
    pub stack_bytes: u64,
}

/// The default of [`Limits::stack_bytes`]: half of the 2 MiB that Rust gives a thread, and what Rust gives a guest's own
/// stack in linear memory.
pub(crate) const STACK_BYTES_DEFAULT: u64 = 1 << 20;
const STACK_BYTES_MIN: u64 = 64 << 10;
const STACK_BYTES_MAX: u64 = 256 << 20;
/// A page of WebAssembly: an instance with less memory cannot hold anything.
const MEMORY_BYTES_MIN: u64 = 64 << 10;
/// All that a 32-bit memory can address.
pub(crate) const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// A guess: Python components have tables of some ten thousand entries; an entry costs the host 8 bytes.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// A guess: a component made by wit-component has four core instances, a composed one some dozen.
const INSTANCES_MAX: usize = 256;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            call_time_ms: 10_000,
            output_bytes: 256 << 20,
            log_bytes: 64 << 10,
            broadcast_bytes: 64 << 20,
            stack_bytes: STACK_BYTES_DEFAULT,
        }
    }
}

impl Limits {
    /// Refuses values that no call could run with.
    pub(crate) fn check(&self) -> Result<()> {
        let range = |key, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let [found, min, max] = [value, min, max].map(|bytes| Bytes(bytes).to_string());
            Err(Error::LimitOutOfRange { key, found, min, max })
        };
        range("limits.memory", self.memory_bytes, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)?;
        range("limits.stack", self.stack_bytes, STACK_BYTES_MIN, STACK_BYTES_MAX)?;
        range("limits.broadcast", self.broadcast_bytes, 1, MEMORY_BYTES_MAX)?;
        range("limits.output", self.output_bytes, 1, MEMORY_BYTES_MAX)?;
        if self.call_time_ms == 0 {
            let [min, max] = ["1 ms".to_owned(), "any".to_owned()];
            return Err(Error::LimitOutOfRange { key: "limits.call-time", found: "0".into(), min, max });
        }
        Ok(())
    }
}

/// Counts the memory of one store and remembers what it refused.
#[derive(Debug)]
pub(crate) struct MemoryGuard {
    bytes_max: u64,
    bytes: u64,
    /// What the latest granted growth added, in case it fails after all.
    latest: u64,
    refused: Option<Refused>,
}

/// A growth that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All memories together would have had so many bytes.
    Memory(u64),
    /// A table would have had so many elements.
    Table(usize),
}

impl MemoryGuard {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, latest: 0, refused: None }
    }

    /// Memory in use, in bytes. It never shrinks.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets what was refused before this call.
    pub(crate) fn start_call(&mut self) {
        self.refused = None;
    }

    /// What this call was refused, if anything.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

impl ResourceLimiter for MemoryGuard {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.bytes.saturating_add(more);
        if wanted > self.bytes_max {
            self.refused = Some(Refused::Memory(wanted));
            return Ok(false);
        }
        // Past the module's own maximum the growth fails by itself, and `memory_grow_failed` takes it off again.
        self.bytes = wanted;
        self.latest = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "a plugin's memory could not grow");
        self.bytes -= std::mem::take(&mut self.latest);
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            self.refused = Some(Refused::Table(desired));
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use millpond_core::Classify;

    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut guard = MemoryGuard::new(100);
        assert!(guard.memory_growing(0, 60, None).unwrap());
        assert!(!guard.memory_growing(0, 60, None).unwrap());
        assert_eq!(guard.refused(), Some(Refused::Memory(120)));
        assert!(guard.memory_growing(60, 100, None).unwrap());
        assert_eq!(guard.bytes(), 100);
        guard.start_call();
        assert_eq!(guard.refused(), None);
    }

    #[test]
    fn failed_growth_is_not_counted() {
        let mut guard = MemoryGuard::new(1000);
        assert!(guard.memory_growing(0, 100, None).unwrap());
        assert!(guard.memory_growing(100, 300, None).unwrap());
        guard.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert_eq!(guard.bytes(), 100);
    }

    #[test]
    fn limits_that_nothing_can_run_with_are_refused_by_key() {
        let key = |limits: Limits| {
            let error = limits.check().unwrap_err();
            assert_eq!(error.code().0, "MP0104");
            error.to_string()
        };
        assert!(Limits::default().check().is_ok());
        assert!(key(Limits { stack_bytes: 0, ..Limits::default() }).contains("limits.stack"));
        assert!(key(Limits { memory_bytes: 8 << 30, ..Limits::default() }).contains("between 64 KiB and 4 GiB"));
        assert!(key(Limits { call_time_ms: 0, ..Limits::default() }).contains("limits.call-time"));
    }
}
