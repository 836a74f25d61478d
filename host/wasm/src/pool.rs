//! Instances of one plugin: leased to one call at a time, reused, replaced.
//!
//! An instance is made when no idle one is left, so there are never more than calls at the same time. Each new one is
//! asked for its plan, and the plan must be the first one's. An instance goes back only after a call in which everything
//! was right; after a trap, a failure or a malformed answer it is dropped with all its memory, and also when its memory
//! has grown past a mark (some languages' runtimes leak a little per call).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arrow::array::RecordBatch;
use millpond_core::accumulator::{Ledger, Update};
use millpond_core::batch::value_bytes;
use millpond_core::function::FunctionUsage;
use millpond_core::{Accumulator, BatchTime, PartitionId, TaskInfo};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::accumulate;
use crate::bindings::job::millpond::plugin::types::{Failure, FailureCode, Param};
use crate::call::{self, HostState};
use crate::convert::lower::Lowered;
use crate::engine::{WasmEngine, lock};
use crate::error::{Bytes, Error, GuestTrace, Place, Result, printable};
use crate::job::cross;
use crate::limits::{Limits, Refused};
use crate::load::{self, LoadOptions, World};

/// How much of a guest's message goes into an error.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What the two worlds do differently.
pub(crate) trait Guest: Sized + Send {
    /// What the plugin says of itself: a plan or a signature, as the host sees it.
    type Contract: PartialEq + Send + Sync;
    /// The same as it crosses the boundary.
    type Raw: Send;
    const WORLD: World;
    /// The function that gives the contract.
    const DESCRIBE: &'static str;

    /// Finds the exports and checks their types.
    fn bind(store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Self>;
    fn describe(
        &self,
        store: &mut Store<HostState>,
        params: &[Param<'_>],
    ) -> wasmtime::Result<Result<Self::Raw, String>>;
    fn contract(place: &Place, raw: Self::Raw) -> Result<Self::Contract>;
    /// Gives the guest a broadcast's value.
    fn set_broadcast(
        &self,
        _: &mut Store<HostState>,
        _number: u32,
        _value: &Lowered<'_>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(Ok(()))
    }
    /// What calls may add to.
    fn accumulators(_: &Self::Contract) -> &[Accumulator] {
        &[]
    }
    /// The first thing in which two contracts differ, in words.
    fn difference(first: &Self::Contract, other: &Self::Contract) -> String;
}

struct Live<G> {
    store: Store<HostState>,
    guest: G,
    /// Past this much memory the instance is replaced.
    memory_mark: u64,
    /// By broadcast: the version of the value that it has; 0 = none.
    versions: Vec<u64>,
}

/// A broadcast's value. Versions count from 1.
#[derive(Clone)]
struct Value {
    version: u64,
    rows: RecordBatch,
}

/// The instances of one loaded plugin.
pub(crate) struct Pool<G: Guest> {
    // Keeps the ticker running.
    engine: WasmEngine,
    instance_pre: InstancePre<HostState>,
    options: LoadOptions,
    contract: OnceLock<G::Contract>,
    idle: Mutex<Vec<Live<G>>>,
    /// Instances serve one call each.
    single_use: AtomicBool,
    usage: Usage,
    ledger: Ledger,
    /// By broadcast.
    values: Mutex<Arc<Vec<Value>>>,
}

#[derive(Default)]
struct Usage {
    calls: AtomicU64,
    time_us: AtomicU64,
    log_dropped: AtomicU64,
}

impl<G: Guest> Pool<G> {
    /// Loads a component and makes its first instance.
    pub(crate) fn load(engine: &WasmEngine, options: &LoadOptions, bytes: &[u8]) -> Result<Self> {
        let pool = Self {
            engine: engine.clone(),
            instance_pre: load::link(engine, G::WORLD, &options.limits, bytes)?,
            options: options.clone(),
            contract: OnceLock::new(),
            idle: Mutex::default(),
            single_use: AtomicBool::new(false),
            usage: Usage::default(),
            ledger: Ledger::default(),
            values: Mutex::default(),
        };
        let first = pool.on_stack(&pool.describe_place(), || pool.instantiate())??;
        lock(&pool.idle).push(first);
        Ok(pool)
    }

    /// From now on each call gets an instance of its own.
    pub(crate) fn never_reuse(&self) {
        self.single_use.store(true, Ordering::Relaxed);
        lock(&self.idle).clear();
    }

    /// What the plugin said of itself.
    pub(crate) fn contract(&self) -> &G::Contract {
        self.contract.get().expect("load() made an instance, and the first instance sets the contract")
    }

    /// Where a call takes place.
    pub(crate) fn place(&self, export: &'static str, node: Option<&str>, task: &TaskInfo) -> Place {
        let task: (PartitionId, BatchTime) = (task.partition, task.batch_time);
        Place { job: self.options.job.clone(), export, node: node.map(str::to_owned), task: Some(task) }
    }

    /// Calls the guest: `invoke` crosses the boundary, `check` looks at what came back.
    pub(crate) fn call<Raw: Send, R: Send>(
        &self,
        place: &Place,
        invoke: impl FnOnce(&G, &mut Store<HostState>) -> wasmtime::Result<Result<Raw, Failure>> + Send,
        check: impl FnOnce(Raw) -> Result<R> + Send,
    ) -> Result<R> {
        self.on_stack(place, || {
            let idle = lock(&self.idle).pop();
            let mut live = match idle {
                Some(live) => live,
                None => self.instantiate()?,
            };
            call::start(&mut live.store, place, &self.options.limits);
            let result = match self.bring_up_to_date(place, &mut live)? {
                Ok(Ok(())) => invoke(&live.guest, &mut live.store),
                Ok(Err(failure)) => Ok(Err(failure)),
                Err(error) => Err(error),
            };
            let (usage, last_error, result) = call::end(&mut live.store, place, &self.options.limits, result);
            self.usage.add(usage);
            let answer = result?.map_err(|failure| failed(place, failure, last_error))?;
            let answer = check(answer)?;
            let handed_over = std::mem::take(&mut live.store.data_mut().handed_over);
            let updates = accumulate::check(place, G::accumulators(self.contract()), handed_over)?;
            if let (Some(node), Some((partition, _))) = (&place.node, place.task) {
                self.ledger.note(node, partition, updates);
            }
            let keep = !self.single_use.load(Ordering::Relaxed);
            if keep && live.store.data().memory.bytes() <= live.memory_mark {
                lock(&self.idle).push(live);
            }
            Ok(answer)
        })?
    }

    /// Replaces the value of a broadcast; an instance gets it before its next call. Numbers come in order, the first time.
    pub(crate) fn set_broadcast(&self, number: usize, name: &str, rows: &RecordBatch) -> Result<()> {
        let (found, limit) = (value_bytes(rows), self.options.limits.broadcast_bytes);
        if found > limit {
            let (job, broadcast) = (self.options.job.clone(), name.to_owned());
            return Err(Error::BroadcastSize { job, broadcast, found: Bytes(found), limit: Bytes(limit) });
        }
        let mut values = lock(&self.values);
        let values = Arc::make_mut(&mut values);
        while values.len() <= number {
            values.push(Value { version: 0, rows: RecordBatch::new_empty(rows.schema()) });
        }
        values[number] = Value { version: values[number].version + 1, rows: rows.clone() };
        Ok(())
    }

    /// Gives an instance the values that it does not have.
    fn bring_up_to_date(&self, place: &Place, live: &mut Live<G>) -> Result<wasmtime::Result<Result<(), Failure>>> {
        let values = Arc::clone(&lock(&self.values));
        live.versions.resize(values.len(), 0);
        for ((number, value), version) in (0..).zip(values.iter()).zip(&mut live.versions) {
            if value.version == *version {
                continue;
            }
            let lowered = cross(place, &value.rows)?;
            match live.guest.set_broadcast(&mut live.store, number, &lowered) {
                Ok(Ok(())) => *version = value.version,
                other => return Ok(other),
            }
        }
        Ok(Ok(Ok(())))
    }

    /// What calls had for the accumulators since this was asked last.
    pub(crate) fn take_updates(&self) -> Vec<Update> {
        self.ledger.take()
    }

    pub(crate) fn usage(&self) -> FunctionUsage {
        FunctionUsage {
            calls: self.usage.calls.load(Ordering::Relaxed),
            time_us: self.usage.time_us.load(Ordering::Relaxed),
            log_dropped: self.usage.log_dropped.load(Ordering::Relaxed),
        }
    }

    fn describe_place(&self) -> Place {
        Place { job: self.options.job.clone(), export: G::DESCRIBE, node: None, task: None }
    }

    fn on_stack<R: Send>(&self, place: &Place, work: impl FnOnce() -> R + Send) -> Result<R> {
        call::on_stack(self.options.limits.stack_bytes, work).map_err(|error| Error::Resource {
            place: Box::new(place.clone()),
            what: "threads of the machine",
            reason: format!("a call with `limits.stack` above its default has a thread of its own: {error}"),
        })
    }

    fn instantiate(&self) -> Result<Live<G>> {
        let (place, limits) = (self.describe_place(), &self.options.limits);
        let mut store = call::store(self.instance_pre.engine(), self.engine.clock(), limits);
        call::start(&mut store, &place, limits);
        let instance = match self.instance_pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(refused_instance(&mut store, &place, limits, error)),
        };
        let guest = G::bind(&mut store, &instance).map_err(|error| Error::WrongExports {
            expected: G::WORLD.interface().to_owned(),
            reason: format!("{error:#}"),
        })?;
        let params: Vec<_> = self.options.params.iter().map(|(name, value)| Param { name, value }).collect();
        let result = guest.describe(&mut store, &params);
        let (usage, _, result) = call::end(&mut store, &place, limits, result);
        self.usage.add_log(usage);
        let raw = result?.map_err(|message| refused_params(&place, &message))?;
        self.agree(&place, G::contract(&place, raw)?)?;
        let bytes = store.data().memory.bytes();
        Ok(Live { store, guest, memory_mark: memory_mark(bytes, limits), versions: Vec::new() })
    }

    /// The first contract is kept, and all others must be equal to it.
    fn agree(&self, place: &Place, contract: G::Contract) -> Result<()> {
        let Err(contract) = self.contract.set(contract) else { return Ok(()) };
        if contract == *self.contract() {
            return Ok(());
        }
        let difference = G::difference(self.contract(), &contract);
        Err(Error::PlanDiffers { place: Box::new(place.clone()), difference })
    }

    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Makes the pool forget what it has, as if it had been told something else before.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, contract: G::Contract) {
        self.contract = OnceLock::from(contract);
        lock(&self.idle).clear();
    }
}

impl Usage {
    fn add(&self, usage: call::CallUsage) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.time_us.fetch_add(usage.time_us, Ordering::Relaxed);
        self.add_log(usage);
    }

    fn add_log(&self, usage: call::CallUsage) {
        self.log_dropped.fetch_add(usage.log_dropped, Ordering::Relaxed);
    }
}

/// Half way between what an instance needs to start and what it may have at most.
fn memory_mark(start_bytes: u64, limits: &Limits) -> u64 {
    start_bytes + limits.memory_bytes.saturating_sub(start_bytes) / 2
}

fn failed(place: &Place, failure: Failure, last_error: Option<String>) -> Error {
    let code = match failure.code {
        FailureCode::User => "user",
        FailureCode::UnknownNode => "unknown-node",
        FailureCode::BadInput => "bad-input",
        FailureCode::Internal => "internal",
    };
    let message = printable(&failure.message, MESSAGE_BYTES_MAX);
    let trace = GuestTrace { last_error, frames: Vec::new() };
    Error::Failure { place: Box::new(place.clone()), code, message, trace }
}

fn refused_params(place: &Place, message: &str) -> Error {
    Error::PlanRefused { place: Box::new(place.clone()), message: printable(message, MESSAGE_BYTES_MAX) }
}

/// Why an instance could not be made: a limit of the job, a limit of the pool, or its own start function.
fn refused_instance(store: &mut Store<HostState>, place: &Place, limits: &Limits, error: wasmtime::Error) -> Error {
    let pool_is_full = error.is::<PoolConcurrencyLimitError>();
    let reason = format!("{error:#}");
    let refused = store.data().memory.refused();
    let ran = error.is::<wasmtime::Trap>() || error.is::<wasmtime::WasmBacktrace>();
    let (_, _, result) = call::end::<()>(store, place, limits, Err(error));
    match result {
        Err(error) if ran || matches!(refused, Some(Refused::Memory(_) | Refused::Table(_))) => error,
        _ if pool_is_full => {
            let reason = format!("{reason}; run fewer jobs in one process, or with less parallelism");
            Error::Resource { place: Box::new(place.clone()), what: "slots for plugin instances", reason }
        }
        _ => Error::Resource { place: Box::new(place.clone()), what: "resources for a plugin instance", reason },
    }
}

#[cfg(test)]
mod tests;
