//! What a job is made of, and the order in which it is opened: component, plan, names, transforms, inputs, outputs, and the
//! state last, so that whatever fails before leaves no trace.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millpond_connectors::memory::{MemoryInput, MemoryOutput, MemorySink, MemorySource};
use millpond_connectors::{
    BroadcastSpec, OnBadRecordSpec, OpenBroadcast, OpenSink, OpenSource, SinkSpec, SourceSpec, SpecError,
};
use millpond_core::schema::{difference, same_types};
use millpond_core::{
    BatchReport, BoxError, BroadcastSource, Clock, Listener, OutputMode, Receiver, Report, Sink, StateStore,
    StopSignal, SystemClock, TransformFunction,
};
use millpond_engine::{JobOptions, JobParts, JobRunner, OnBadRecord, SinkBinding, SourceBinding, StreamGraph, Trigger};
use millpond_state::{FileStateStore, StateOptions};
use millpond_wasm::{Limits, LoadOptions};
use serde_json::Value as Json;

use crate::no_state::NoState;
use crate::{Error, Host, Job};

/// How often the state's log is folded into its checkpoint: what job files have as a default.
const FOLD_EVERY_MS: u64 = 10_000;

/// What job files have as a default.
const BATCH_INTERVAL_MS: u64 = 500;

type OpenReceiver = Box<dyn FnOnce(OpenSource) -> Result<Box<dyn Receiver>, BoxError>>;
type OpenSinkFn = Box<dyn FnOnce(OpenSink) -> Result<Box<dyn Sink>, BoxError>>;

/// What is behind a source's name.
enum Input {
    Open(OpenReceiver, OnBadRecord),
    /// At most so many rows.
    Memory(usize),
}

/// What is behind a sink's name.
enum Output {
    Open(OpenSinkFn),
    /// At most so many rows.
    Memory(usize),
}

/// What is behind a broadcast's name.
enum Value {
    Own(Box<dyn BroadcastSource>),
    Spec(BroadcastSpec),
}

/// A component that serves as a step.
struct Step {
    component: Vec<u8>,
    params: Vec<(String, String)>,
}

/// A job in the making; see [`Host::job`].
///
/// What was given first is wrong first: an option that cannot be used is an error of `open_in`, `open_with` or `open_without_state`.
pub struct JobBuilder {
    host: Host,
    component: Vec<u8>,
    load: LoadOptions,
    options: JobOptions,
    dir: PathBuf,
    sources: BTreeMap<String, Input>,
    sinks: BTreeMap<String, (Output, OutputMode)>,
    broadcasts: BTreeMap<String, Value>,
    transforms: BTreeMap<String, Step>,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    stop: StopSignal,
    /// The first option that cannot be used.
    wrong: Option<Error>,
}

impl JobBuilder {
    pub(crate) fn new(host: Host, name: &str, component: Vec<u8>) -> Self {
        Self {
            options: JobOptions {
                name: name.to_owned(),
                batch_interval_ms: BATCH_INTERVAL_MS,
                trigger: Trigger::Continuous,
                parallelism: host.cores,
                commit_every: 1,
                on_bad_record: OnBadRecord::Skip,
            },
            load: LoadOptions { job: name.to_owned(), ..LoadOptions::default() },
            host,
            component,
            dir: PathBuf::from("."),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            broadcasts: BTreeMap::new(),
            transforms: BTreeMap::new(),
            clock: Arc::new(SystemClock::new()),
            listener: Arc::new(Nobody),
            stop: StopSignal::new(),
            wrong: None,
        }
    }

    /// A setting that the plugin reads when it makes its plan; replaces an earlier one of the same name.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Display) -> Self {
        self.load.params.retain(|(other, _)| other != name);
        self.load.params.push((name.to_owned(), value.to_string()));
        self
    }

    /// Bounds of every call into the component. Default: those of job files.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.load.limits = limits;
        self
    }

    /// A batch is made so often: whole milliseconds, at least one. Default: 500 ms.
    #[must_use]
    pub fn batch_interval(mut self, interval: Duration) -> Self {
        self.options.batch_interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let whole = Duration::from_millis(self.options.batch_interval_ms) == interval && !interval.is_zero();
        if !whole {
            self.refuse("the batch interval", format!("{interval:?} is not one or more whole milliseconds"));
        }
        self
    }

    /// When batches are made. Default: [`Trigger::Continuous`].
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.options.trigger = trigger;
        self
    }

    /// Partitions after a shuffle, at least 1. Default: the host's compute threads.
    #[must_use]
    pub fn parallelism(mut self, partitions: usize) -> Self {
        self.options.parallelism = partitions.max(1);
        self
    }

    /// A durable commit after every so many batches, at least 1. Default: 1.
    #[must_use]
    pub fn commit_every(mut self, batches: u64) -> Self {
        self.options.commit_every = batches.max(1);
        self
    }

    /// What happens after a row that user code refuses, or a record of a source in a program's own receiver that cannot be decoded.
    /// Default: [`OnBadRecord::Skip`].
    #[must_use]
    pub fn on_bad_record(mut self, on_bad_record: OnBadRecord) -> Self {
        self.options.on_bad_record = on_bad_record;
        self
    }

    /// Where relative paths of connectors start. Default: the process's folder.
    #[must_use]
    pub fn base_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = dir.as_ref().to_owned();
        self
    }

    /// Time. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Is told of every batch and of bad records. Default: nobody.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listener = listener;
        self
    }

    /// An input of the program's own: `open` gets the columns that the plan wants.
    #[must_use]
    pub fn source<R: Receiver + 'static>(
        mut self,
        name: &str,
        open: impl FnOnce(OpenSource) -> Result<R, BoxError> + 'static,
    ) -> Self {
        let open: OpenReceiver = Box::new(move |wanted| Ok(Box::new(open(wanted)?)));
        let on_bad_record = self.options.on_bad_record;
        self.sources.insert(name.to_owned(), Input::Open(open, on_bad_record));
        self
    }

    /// An input of a type that job files have, with the keys of `[sources.NAME]` but for `type`.
    #[must_use]
    pub fn source_of_type(mut self, name: &str, type_name: &str, keys: Json) -> Self {
        match SourceSpec::parse(type_name, keys) {
            Ok(spec) => {
                let on_bad_record = match spec.on_bad_record() {
                    OnBadRecordSpec::Skip => OnBadRecord::Skip,
                    OnBadRecordSpec::Fail => OnBadRecord::Fail,
                };
                let open: OpenReceiver = Box::new(move |wanted| spec.open(wanted));
                self.sources.insert(name.to_owned(), Input::Open(open, on_bad_record));
            }
            Err(error) => self.refuse_spec("source", name, &error),
        }
        self
    }

    /// An input in memory, in which at most about `rows_max` rows wait; see [`Job::input`].
    #[must_use]
    pub fn memory_source(mut self, name: &str, rows_max: usize) -> Self {
        self.sources.insert(name.to_owned(), Input::Memory(rows_max));
        self
    }

    /// An output of the program's own: `open` gets the columns that the plan gives.
    #[must_use]
    pub fn sink<S: Sink + 'static>(
        mut self,
        name: &str,
        mode: OutputMode,
        open: impl FnOnce(OpenSink) -> Result<S, BoxError> + 'static,
    ) -> Self {
        let open: OpenSinkFn = Box::new(move |given| Ok(Box::new(open(given)?)));
        self.sinks.insert(name.to_owned(), (Output::Open(open), mode));
        self
    }

    /// An output of a type that job files have, with the keys of `[sinks.NAME]` but for `type`.
    #[must_use]
    pub fn sink_of_type(mut self, name: &str, type_name: &str, keys: Json) -> Self {
        match SinkSpec::parse(type_name, keys) {
            Ok(spec) => {
                let mode = spec.mode();
                let open: OpenSinkFn = Box::new(move |given| spec.open(given));
                self.sinks.insert(name.to_owned(), (Output::Open(open), mode));
            }
            Err(error) => self.refuse_spec("sink", name, &error),
        }
        self
    }

    /// An output in memory, which keeps at most `rows_max` rows; see [`Job::output`]. A batch that would be too many fails the
    /// job.
    #[must_use]
    pub fn memory_sink(mut self, name: &str, mode: OutputMode, rows_max: usize) -> Self {
        self.sinks.insert(name.to_owned(), (Output::Memory(rows_max), mode));
        self
    }

    /// A broadcast's value from the program's own source of it, which is asked before each batch.
    #[must_use]
    pub fn broadcast(mut self, name: &str, source: impl BroadcastSource + 'static) -> Self {
        self.broadcasts.insert(name.to_owned(), Value::Own(Box::new(source)));
        self
    }

    /// A broadcast's value with the keys of `[broadcasts.NAME]` in job files.
    #[must_use]
    pub fn broadcast_of_keys(mut self, name: &str, keys: Json) -> Self {
        match BroadcastSpec::parse(keys) {
            Ok(spec) => drop(self.broadcasts.insert(name.to_owned(), Value::Spec(spec))),
            Err(error) => self.refuse_spec("broadcast", name, &error),
        }
        self
    }

    /// A component of world `transform` that the plan uses as a step.
    #[must_use]
    pub fn transform(mut self, name: &str, component: Vec<u8>, params: &[(&str, &str)]) -> Self {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.transforms.insert(name.to_owned(), Step { component, params });
        self
    }

    /// Opens everything; state is kept in a folder, and a job of the same name goes on from there.
    ///
    /// **Errors**: MP0104 to MP0106 for options and names; the component's (MP02xx), the plan's (MP04xx), the connectors'
    /// (MP05xx, MP06xx), the state's (MP07xx).
    pub fn open_in(self, state_dir: impl AsRef<Path>) -> Result<Job, BoxError> {
        let options = StateOptions {
            dir: state_dir.as_ref().to_owned(),
            job: self.options.name.clone(),
            fold_every_ms: FOLD_EVERY_MS,
            clock: Arc::clone(&self.clock),
        };
        self.open(|| Ok(Box::new(FileStateStore::open(options)?)))
    }

    /// Opens everything; state is kept in the program's own store.
    ///
    /// **Errors**: as [`open_in`](Self::open_in).
    pub fn open_with(self, store: Box<dyn StateStore>) -> Result<Job, BoxError> {
        self.open(|| Ok(store))
    }

    /// Opens everything; state lasts as long as the [`Job`], and each new one starts afresh.
    ///
    /// **Errors**: as [`open_in`](Self::open_in).
    pub fn open_without_state(self) -> Result<Job, BoxError> {
        self.open(|| Ok(Box::new(NoState)))
    }

    fn open(mut self, store: impl FnOnce() -> Result<Box<dyn StateStore>, BoxError>) -> Result<Job, BoxError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong.into());
        }
        let component = self.host.engine.load_job(&self.load, &self.component)?;
        let graph = StreamGraph::try_new(component.plan().clone(), self.options.batch_interval_ms)?;
        self.check_names(&graph)?;
        let transforms = self.load_transforms(&graph)?;
        let broadcasts = self.open_broadcasts(&graph)?;
        let (sources, inputs) = self.open_sources(&graph)?;
        let (sinks, outputs) = self.open_sinks(&graph)?;
        let parts = JobParts {
            graph,
            function: Arc::new(component),
            transforms,
            broadcasts,
            sources,
            sinks,
            store: store()?,
            clock: self.clock,
            pool: Arc::clone(&self.host.pool),
            listener: self.listener,
        };
        let runner = JobRunner::try_new(self.options, parts)?;
        Ok(Job { runner, stop: self.stop, inputs, outputs, _host: self.host })
    }

    fn check_names(&self, graph: &StreamGraph) -> Result<(), Error> {
        let sources = graph.sources().iter().map(|(name, _)| *name).collect();
        check("source", sources, self.sources.keys())?;
        check("sink", graph.sinks().iter().map(|(name, _)| *name).collect(), self.sinks.keys())?;
        check("broadcast", graph.broadcasts().iter().map(|(name, _)| *name).collect(), self.broadcasts.keys())?;
        check("transform", graph.transforms().iter().map(|(name, ..)| *name).collect(), self.transforms.keys())
    }

    fn open_broadcasts(&mut self, graph: &StreamGraph) -> Result<BTreeMap<String, Box<dyn BroadcastSource>>, BoxError> {
        let mut broadcasts = BTreeMap::new();
        for (name, schema) in graph.broadcasts() {
            let Some(value) = self.broadcasts.remove(name) else { continue };
            let source = match value {
                Value::Own(source) => source,
                Value::Spec(spec) => spec.open(OpenBroadcast {
                    name: name.to_owned(),
                    job_dir: self.dir.clone(),
                    schema: Arc::clone(schema),
                    bytes_max: self.load.limits.broadcast_bytes,
                })?,
            };
            broadcasts.insert(name.to_owned(), source);
        }
        Ok(broadcasts)
    }

    fn load_transforms(
        &mut self,
        graph: &StreamGraph,
    ) -> Result<BTreeMap<String, Arc<dyn TransformFunction>>, BoxError> {
        let mut loaded: BTreeMap<String, Arc<dyn TransformFunction>> = BTreeMap::new();
        for (name, input, output) in graph.transforms() {
            let Some(step) = self.transforms.remove(name) else { continue };
            let load = LoadOptions { params: step.params, ..self.load.clone() };
            let transform = self.host.engine.load_transform(&load, &step.component)?;
            for (side, found, expected) in
                [("input", transform.input_schema(), input), ("output", transform.output_schema(), output)]
            {
                if !same_types(&found, expected) {
                    let difference = difference(("in the plan", expected), ("in the component", &found));
                    return Err(Error::TransformColumns { name: name.to_owned(), side, difference }.into());
                }
            }
            loaded.insert(name.to_owned(), Arc::new(transform));
        }
        Ok(loaded)
    }

    fn open_sources(&mut self, graph: &StreamGraph) -> Result<(Sources, BTreeMap<String, MemoryInput>), BoxError> {
        let (mut sources, mut inputs) = (BTreeMap::new(), BTreeMap::new());
        for (name, schema) in graph.sources() {
            let Some(input) = self.sources.remove(name) else { continue };
            let (receiver, on_bad_record): (Box<dyn Receiver>, _) = match input {
                Input::Memory(rows_max) => {
                    let (source, input) = MemorySource::new(Arc::clone(schema), rows_max);
                    inputs.insert(name.to_owned(), input);
                    (Box::new(source), self.options.on_bad_record)
                }
                Input::Open(open, on_bad_record) => {
                    let wanted = OpenSource {
                        name: name.to_owned(),
                        job_dir: self.dir.clone(),
                        schema: Arc::clone(schema),
                        runtime: self.host.runtime.handle().clone(),
                        clock: Arc::clone(&self.clock),
                        stdin: Box::new(std::io::stdin()),
                    };
                    (open(wanted)?, on_bad_record)
                }
            };
            sources.insert(name.to_owned(), SourceBinding { receiver, on_bad_record });
        }
        Ok((sources, inputs))
    }

    fn open_sinks(&mut self, graph: &StreamGraph) -> Result<(Sinks, BTreeMap<String, MemoryOutput>), BoxError> {
        let (mut sinks, mut outputs) = (BTreeMap::new(), BTreeMap::new());
        for (name, schema) in graph.sinks() {
            let Some((output, mode)) = self.sinks.remove(name) else { continue };
            let sink: Box<dyn Sink> = match output {
                Output::Memory(rows_max) => {
                    let (sink, output) = MemorySink::new(name, rows_max);
                    outputs.insert(name.to_owned(), output);
                    Box::new(sink)
                }
                Output::Open(open) => open(OpenSink {
                    name: name.to_owned(),
                    job: self.options.name.clone(),
                    job_dir: self.dir.clone(),
                    schema: Arc::clone(schema),
                    color: false,
                    out: Box::new(std::io::stdout()),
                    stop: self.stop.clone(),
                })?,
            };
            sinks.insert(name.to_owned(), SinkBinding { sink, mode });
        }
        Ok((sinks, outputs))
    }

    fn refuse_spec(&mut self, kind: &str, name: &str, error: &SpecError) {
        self.refuse(&format!("{kind} `{name}`"), error.to_string());
    }

    fn refuse(&mut self, what: &str, problem: String) {
        self.wrong.get_or_insert(Error::WrongOption { what: what.to_owned(), problem });
    }
}

type Sources = BTreeMap<String, SourceBinding>;
type Sinks = BTreeMap<String, SinkBinding>;

/// What the plan names must be defined, and the other way round.
fn check<'a>(
    kind: &'static str,
    planned: Vec<&str>,
    mut defined: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), Error> {
    if let Some(name) = planned.iter().find(|name| !defined.clone().any(|known| known == *name)) {
        return Err(Error::NotDefined { kind, name: (*name).to_owned() });
    }
    match defined.find(|name| !planned.contains(&name.as_str())) {
        Some(name) => Err(Error::NotInPlan { kind, name: name.clone(), known: planned.join(", ") }),
        None => Ok(()),
    }
}

/// Listens to nothing.
struct Nobody;

impl Listener for Nobody {
    fn batch_completed(&self, _: &BatchReport) {}
    fn report(&self, _: &Report) {}
}
