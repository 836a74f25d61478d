//! The WebAssembly engine that all jobs of a process share.
//!
//! One wasmtime engine (and one more for each other stack size that a job asks for, because wasmtime sets that per engine),
//! one ticker thread for deadlines, one store of compiled components. Where the machine gives no address space for pooled
//! instances, instances are allocated one by one: slower to make, otherwise the same.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use millpond_core::{Clock, SystemClock};
use wasmtime::component::Component;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Memory, MemoryType, PoolingAllocationConfig, ProfilingStrategy, Store,
};

use crate::cache::Compiled;
use crate::call::{FRAMES_CAPTURED, TICK};
use crate::error::{Error, Result};
use crate::limits::{MEMORY_BYTES_MAX, STACK_BYTES_DEFAULT};

/// Instances that can be alive at once in the pool: each reserves 4 GiB of address space, not memory. A guess: fifty jobs
/// on four threads, each with an instance a thread and one more.
const POOLED_INSTANCES: u32 = 256;
/// Without a pool, so many must fit into the address space, or all get less of it. A guess: a dozen jobs on four threads.
const PROBED_INSTANCES: usize = 48;
/// Core instances and tables that a component made by wit-component has, rounded up.
const CORE_PER_COMPONENT: u32 = 4;
/// A guess, as large as any plugin seen so far; a component with a larger table gets its instances on demand.
const POOLED_TABLE_ELEMENTS: usize = 64 << 10;
/// A guess: functions and globals of the largest Python components take a tenth of it.
const POOLED_INSTANCE_BYTES: usize = 16 << 20;

/// How an engine is made.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// A folder for compiled components, made when missing; none = they are compiled anew in each process.
    pub cache_dir: Option<PathBuf>,
    /// Writes the names of plugins' functions to `/tmp/perf-PID.map`, where `perf` looks for the names of generated code.
    pub perf_map: bool,
}

/// Runs components. Clones share everything; the deadline ticker ends with the last of them.
#[derive(Clone)]
pub struct WasmEngine {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    allocation: Allocation,
    perf_map: bool,
    engines: Mutex<BTreeMap<(Allocation, u64), Engine>>,
    compiled: Compiled,
    ticker: Ticker,
}

/// How instances get their memory, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Allocation {
    /// From slots that are reserved at the start.
    Pooled,
    /// 4 GiB of address space for each instance, so that generated code need not check bounds.
    OnDemand,
    /// As much address space as there is memory, with bounds checks.
    Small,
}

impl WasmEngine {
    /// Starts an engine.
    ///
    /// **Errors**: [`Error::Engine`] when this machine cannot run generated code at all.
    pub fn try_new(options: EngineOptions) -> Result<Self> {
        Self::with_allocation(options, Allocation::Pooled)
    }

    /// Starts an engine with `best` or, where the machine refuses, the next best allocation.
    pub(crate) fn with_allocation(options: EngineOptions, best: Allocation) -> Result<Self> {
        let (engine, allocation) = probe(best, options.perf_map)?;
        let ticker = Ticker::try_start(engine.clone())?;
        let inner = Inner {
            clock: Arc::new(SystemClock::new()),
            allocation,
            perf_map: options.perf_map,
            engines: Mutex::new(BTreeMap::from([((allocation, STACK_BYTES_DEFAULT), engine)])),
            compiled: Compiled::new(options.cache_dir),
            ticker,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.clock)
    }

    #[cfg(test)]
    pub(crate) fn compiled(&self) -> &Compiled {
        &self.inner.compiled
    }

    /// Compiles a component, or finds it compiled.
    pub(crate) fn component(&self, bytes: &[u8], stack_bytes: u64) -> Result<Component> {
        let compile =
            |allocation| self.inner.compiled.component(&self.engine(allocation, stack_bytes)?, stack_bytes, bytes);
        // Only the default stack size has a pool: others are rare, and a pool reserves much.
        let best = match self.inner.allocation {
            Allocation::Pooled if stack_bytes != STACK_BYTES_DEFAULT => Allocation::OnDemand,
            allocation => allocation,
        };
        match compile(best) {
            // Perhaps it is only larger than the pool's slots. If it is not, the error is the same again.
            Err(Error::Compile { .. }) if best == Allocation::Pooled => compile(Allocation::OnDemand),
            result => result,
        }
    }

    fn engine(&self, allocation: Allocation, stack_bytes: u64) -> Result<Engine> {
        let mut engines = lock(&self.inner.engines);
        if let Some(engine) = engines.get(&(allocation, stack_bytes)) {
            return Ok(engine.clone());
        }
        let engine = try_engine(allocation, stack_bytes, self.inner.perf_map)
            .map_err(|error| Error::Engine { reason: format!("{error:#}") })?;
        self.inner.ticker.add(engine.clone());
        engines.insert((allocation, stack_bytes), engine.clone());
        Ok(engine)
    }
}

fn probe(best: Allocation, perf_map: bool) -> Result<(Engine, Allocation)> {
    let all = [Allocation::Pooled, Allocation::OnDemand, Allocation::Small];
    let mut reason = String::new();
    for allocation in all.into_iter().skip_while(|allocation| *allocation != best) {
        match try_engine(allocation, STACK_BYTES_DEFAULT, perf_map) {
            Ok(engine) => return Ok((engine, allocation)),
            Err(error) => {
                reason = format!("{error:#}");
                tracing::debug!(
                    ?allocation,
                    reason,
                    "this machine refuses a way to allocate plugin instances; trying the next"
                );
            }
        }
    }
    Err(Error::Engine { reason })
}

fn try_engine(allocation: Allocation, stack_bytes: u64, perf_map: bool) -> wasmtime::Result<Engine> {
    let mut config = config(allocation, stack_bytes);
    if perf_map {
        config.profiler(ProfilingStrategy::PerfMap);
    }
    let engine = Engine::new(&config)?;
    if allocation == Allocation::OnDemand {
        // The pool reserves its address space at once; without it, memories show whether there is enough for many.
        let mut store = Store::new(&engine, ());
        for _ in 0..PROBED_INSTANCES {
            Memory::new(&mut store, MemoryType::new(1, None))?;
        }
    }
    Ok(engine)
}

/// Everything that a plugin does not need is off: threads, GC, exceptions and asynchronous components are not even
/// compiled into this build of wasmtime. NaN bits are left as the processor makes them: equal on every run of the same
/// machine code, and canonical ones would slow every floating-point operation.
fn config(allocation: Allocation, stack_bytes: u64) -> Config {
    let mut config = Config::new();
    let stack_bytes = usize::try_from(stack_bytes).unwrap_or(usize::MAX);
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        // Never used, and yet it must not be smaller.
        .async_stack_size(stack_bytes.saturating_add(1 << 20))
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_CAPTURED))
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false);
    match allocation {
        Allocation::Pooled => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        }
        Allocation::OnDemand => {
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        }
        Allocation::Small => {
            config
                .allocation_strategy(InstanceAllocationStrategy::OnDemand)
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(16 << 20);
        }
    }
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOLED_INSTANCES)
        .total_core_instances(POOLED_INSTANCES * CORE_PER_COMPONENT)
        .total_memories(POOLED_INSTANCES)
        .total_tables(POOLED_INSTANCES * CORE_PER_COMPONENT)
        .table_elements(POOLED_TABLE_ELEMENTS)
        .max_core_instance_size(POOLED_INSTANCE_BYTES)
        .max_component_instance_size(POOLED_INSTANCE_BYTES)
        .max_memory_size(usize::try_from(MEMORY_BYTES_MAX).unwrap_or(usize::MAX));
    pool
}

/// A mutex whose data are consistent at any time: a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that ticks the engines' deadlines.
struct Ticker {
    shared: Arc<(Mutex<Ticking>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

struct Ticking {
    engines: Vec<Engine>,
    stop: bool,
}

impl Ticker {
    fn try_start(engine: Engine) -> Result<Self> {
        let shared = Arc::new((Mutex::new(Ticking { engines: vec![engine], stop: false }), Condvar::new()));
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("millpond-ticker".into())
            .spawn(move || tick(&ticking))
            .map_err(|error| Error::Engine { reason: format!("the deadline thread does not start: {error}") })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn add(&self, engine: Engine) {
        lock(&self.shared.0).engines.push(engine);
    }
}

fn tick((ticking, stopped): &(Mutex<Ticking>, Condvar)) {
    let mut guard = lock(ticking);
    while !guard.stop {
        let (woken, _) = stopped.wait_timeout(guard, TICK).unwrap_or_else(PoisonError::into_inner);
        guard = woken;
        guard.engines.iter().for_each(Engine::increment_epoch);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        lock(&self.shared.0).stop = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::debug!("the deadline thread had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allocation_makes_an_engine() {
        for allocation in [Allocation::Pooled, Allocation::OnDemand, Allocation::Small] {
            try_engine(allocation, STACK_BYTES_DEFAULT, false).unwrap();
        }
    }

    #[test]
    fn ticker_ends_with_its_last_handle() {
        let engine = WasmEngine::try_new(EngineOptions::default()).unwrap();
        let shared = Arc::downgrade(&engine.inner.ticker.shared);
        let second = engine.clone();
        drop(engine);
        assert!(shared.upgrade().is_some());
        drop(second);
        assert!(shared.upgrade().is_none(), "the thread holds the last reference until it ends");
    }

    #[test]
    fn engines_are_shared_by_stack_size() {
        let engine = WasmEngine::try_new(EngineOptions::default()).unwrap();
        let [default, other] =
            [STACK_BYTES_DEFAULT, 2 << 20].map(|bytes| engine.engine(Allocation::OnDemand, bytes).unwrap());
        assert!(Engine::same(&other, &engine.engine(Allocation::OnDemand, 2 << 20).unwrap()));
        assert!(!Engine::same(&other, &default));
    }
}
