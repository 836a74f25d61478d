//! Makes a runner out of its parts and the newest commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millpond_core::plan::Sort;
use millpond_core::receiver::StoredEntry;
use millpond_core::store::NodeState;
use millpond_core::{
    BatchTime, Listener, Node, NodeId, Operator, OutputMode, Recovered, Report, Sink, SinkToken, schema,
};

use super::commit::Pending;
use super::front::{self, Shared};
use super::output::{self, Output};
use super::{JobRunner, Operation, Source};
use crate::accumulators::Accumulators;
use crate::broadcasts::Broadcasts;
use crate::draw;
use crate::error::{Error, Result};
use crate::operators::broadcast::BroadcastOperator;
use crate::operators::map_with_state::MapWithState;
use crate::operators::reduce_session::ReduceSessionOperator;
use crate::operators::reduce_window::ReduceWindowOperator;
use crate::operators::sink::UpdateFilter;
use crate::operators::update_state::{Calls, UpdateState, Wanted};
use crate::operators::window::WindowOperator;
use crate::operators::{Restore, TimedPool};
use crate::options::{SinkBinding, SourceBinding};
use crate::{JobOptions, JobParts, StreamGraph, Summary};

/// Meta entry: the job's first moment, as text.
const START: &str = "start-ms";
/// Meta entries: what a node's state is made of. A node that is something else now cannot go on with it.
const STATE_SCHEMA: &str = "state-schema/";
/// Meta entries: a node's window, in words. It may change between runs.
const WINDOW: &str = "window/";
/// Meta entries: a node that may have an initial state has run a batch, and goes on with its own state.
pub(super) const BEGUN: &str = "begun/";
/// Meta entries: the time of a window's last slide.
pub(super) const LAST_SLIDE: &str = "last-slide/";

pub(super) fn runner(options: JobOptions, mut parts: JobParts) -> Result<JobRunner> {
    let created_us = parts.clock.monotonic_us();
    check_parts(&parts)?;
    let mut operators = operations(&parts, options.parallelism)?;
    let recovered = parts.store.recover().map_err(Error::port("the job's state"))?;
    let start = start(&options, &parts, &recovered)?;
    let mut pending = Pending::default();
    pending.meta.insert(START.to_owned(), start.0.to_string().into_bytes());
    schemas(&parts.graph, &operators, &recovered, &mut pending)?;
    note(&recovered, &parts);
    let accumulators = Accumulators::restore(&parts.graph.plan().accumulators, &recovered.meta)?;
    for name in accumulators.unknown(&recovered.meta) {
        let message =
            format!("the total of accumulator `{name}` is kept, but the plan has no such accumulator any more");
        parts.listener.report(&Report::Note { message });
    }
    let summary = Summary { accumulators: accumulators.totals(), ..Summary::default() };
    let (epoch, last) = recovered.last.map_or((millpond_core::Epoch(0), None), |(epoch, last)| (epoch, Some(last)));
    let nodes = recovered.nodes;
    // Before anything is restored: that may call user code.
    let broadcasts = std::mem::take(&mut parts.broadcasts);
    let broadcasts = Broadcasts::start(parts.graph.plan(), broadcasts, &*parts.function, &*parts.listener)?;
    if last.is_some() {
        restore_operators(&parts, &mut operators, nodes, &recovered.meta)?;
    }
    let sources = sources(std::mem::take(&mut parts.sources), recovered.sources)?;
    let modes = parts.sinks.iter().map(|(name, binding)| (name.clone(), binding.mode)).collect();
    let sinks = sinks(std::mem::take(&mut parts.sinks), &recovered.sinks)?;
    let output = Output::new(&options.name, parts.store, sinks, Arc::clone(&parts.clock));
    let shared = Shared {
        is_front: front::fronts(parts.graph.plan()),
        graph: parts.graph,
        function: parts.function,
        transforms: parts.transforms,
        clock: parts.clock,
        pool: parts.pool,
        start,
        parallelism: options.parallelism,
        on_bad_record: options.on_bad_record,
    };
    Ok(JobRunner {
        options,
        shared: Arc::new(shared),
        sources,
        modes,
        output,
        in_flight: None,
        ahead: VecDeque::new(),
        operators,
        accumulators,
        broadcasts,
        listener: parts.listener,
        last,
        epoch,
        pending,
        summary,
        created_us,
        done_us: 0,
        failed: false,
        lead_ms: 0,
    })
}

fn check_parts(parts: &JobParts) -> Result<()> {
    let missing = |kind, name: &str| Err(Error::MissingPart { kind, name: name.to_owned() });
    for (name, _) in parts.graph.sources() {
        if !parts.sources.contains_key(name) {
            return missing("source", name);
        }
    }
    for (name, _) in parts.graph.sinks() {
        if !parts.sinks.contains_key(name) {
            return missing("sink", name);
        }
    }
    for (name, _) in parts.graph.broadcasts() {
        if !parts.broadcasts.contains_key(name) {
            return missing("broadcast", name);
        }
    }
    for (name, input, output) in parts.graph.transforms() {
        let Some(transform) = parts.transforms.get(name) else { return missing("transform", name) };
        for (what, plan, component) in
            [("input", input, transform.input_schema()), ("output", output, transform.output_schema())]
        {
            if !schema::same_types(plan, &component) {
                return Err(Error::SchemaMismatch {
                    node: name.to_owned(),
                    what: format!("the {what} columns of the transform component are not those of the plan"),
                    difference: schema::difference(("in the plan", plan), ("in the component", &component)),
                });
            }
        }
    }
    Ok(())
}

fn operations(parts: &JobParts, parallelism: usize) -> Result<Vec<Operation>> {
    let graph = &parts.graph;
    let mode = |node: &Node| match &node.operator {
        Operator::Sink(name) => parts.sinks.get(name).map(|binding| binding.mode),
        _ => None,
    };
    let changes_only = |number: NodeId| {
        let consumers = graph.consumers(number);
        !consumers.is_empty()
            && consumers.iter().all(|consumer| mode(&graph.plan().nodes[consumer.index()]) == Some(OutputMode::Update))
    };
    let operation = |(number, node): (NodeId, &Node)| {
        Ok(match &node.operator {
            Operator::Window(window) => Operation::Window(WindowOperator::new(&node.name, &node.schema, *window)),
            Operator::ReduceWindow(settings) => {
                let top = first_rows_wanted(graph, number);
                Operation::ReduceWindow(ReduceWindowOperator::new(number, node, settings, top.as_ref(), parallelism))
            }
            Operator::UpdateState { every_batch, with_keys, initial } => {
                let wanted = match first_rows_wanted(graph, number) {
                    Some(sort) => Wanted::First(sort),
                    None if changes_only(number) => Wanted::Changed,
                    None => Wanted::All,
                };
                let calls = Calls { every_batch: *every_batch, with_keys: *with_keys };
                Operation::UpdateState(UpdateState::new(node, calls, initial.clone(), wanted, parallelism))
            }
            Operator::MapWithState(settings) => {
                let key_columns = graph.plan().nodes[node.inputs[0].index()].key_columns;
                Operation::MapWithState(MapWithState::new(node, settings, key_columns, parallelism))
            }
            Operator::ReduceSession(settings) => {
                Operation::ReduceSession(ReduceSessionOperator::new(node, settings, parallelism))
            }
            Operator::Sink(name) if mode(node) == Some(OutputMode::Update) => {
                let input = &graph.plan().nodes[node.inputs[0].index()];
                graph.check_update_mode(name)?;
                if matches!(input.operator, Operator::UpdateState { .. }) && changes_only(node.inputs[0]) {
                    Operation::Stateless
                } else {
                    Operation::UpdateFilter(UpdateFilter::new(node, input.key_columns))
                }
            }
            Operator::Broadcast(number) => Operation::Broadcast(BroadcastOperator::new(node, *number)),
            _ => Operation::Stateless,
        })
    };
    (0..).map(NodeId).zip(&graph.plan().nodes).map(operation).collect()
}

/// The order of which only the first rows are looked at, if that is all that happens to a node's rows.
fn first_rows_wanted(graph: &StreamGraph, id: NodeId) -> Option<Sort> {
    match graph.consumers(id) {
        [only] => match &graph.plan().nodes[only.index()].operator {
            Operator::Sort(sort) if sort.limit.is_some() && sort.hidden_columns == 0 => Some(sort.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn start(options: &JobOptions, parts: &JobParts, recovered: &Recovered) -> Result<BatchTime> {
    if let Some(bytes) = recovered.meta.get(START) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let unreadable = || Error::StateContent { node: START.to_owned(), reason: format!("`{text}` is no time") };
        return Ok(BatchTime(text.parse().map_err(|_| unreadable())?));
    }
    // On the grid of the interval, so that batch times are round.
    let interval_ms = options.batch_interval_ms.cast_signed().max(1);
    let now_ms = parts.clock.now_ms();
    Ok(BatchTime(now_ms - now_ms.rem_euclid(interval_ms)))
}

/// State is only read back into the columns that it was written from.
fn schemas(graph: &StreamGraph, operators: &[Operation], recovered: &Recovered, pending: &mut Pending) -> Result<()> {
    for (node, operator) in graph.plan().nodes.iter().zip(operators) {
        if operator.stateful().is_none() {
            continue;
        }
        let name = format!("{STATE_SCHEMA}{}", node.name);
        let expected = state_schema(graph, node);
        if let Some(found) = recovered.meta.get(&name)
            && found != expected.as_bytes()
            && recovered.nodes.contains_key(&node.name)
        {
            let difference = state_difference(&expected, &String::from_utf8_lossy(found));
            return Err(Error::StateSchema { node: node.name.clone(), difference });
        }
        pending.meta.insert(name, expected.into_bytes());
        if let Some(window) = window(node) {
            pending.meta.insert(format!("{WINDOW}{}", node.name), window.into_bytes());
        }
    }
    Ok(())
}

/// What a node's state is made of, in words.
fn state_schema(graph: &StreamGraph, node: &Node) -> String {
    let kind = match &node.operator {
        Operator::ReduceWindow(settings) if settings.keep_empty_keys => {
            // Its totals are stored as they are and not made again, so they hold for this window only.
            let window = window(node).unwrap_or_default();
            format!("reduce-window {} over {window}, empty keys kept", draw::merge(&settings.merge))
        }
        Operator::ReduceWindow(settings) => format!("reduce-window {}", draw::merge(&settings.merge)),
        Operator::ReduceSession(settings) => format!("reduce-session {}", draw::merge(&settings.merge)),
        // What it maps rows to may change: that is not kept.
        Operator::MapWithState(settings) => {
            let key_columns = graph.plan().nodes[node.inputs[0].index()].key_columns;
            return format!("map-with-state of ({}) key {key_columns}", schema::describe(&settings.state));
        }
        other => other.kind().to_owned(),
    };
    format!("{kind} of ({}) key {}", schema::describe(&node.schema), node.key_columns)
}

/// What differs in two texts of [`state_schema`]: the kind of the state and the length of its key, its columns, or both.
fn state_difference(plan: &str, state: &str) -> String {
    let parts = |text: &str| {
        let (kind, rest) = text.split_once(" of (").unwrap_or((text, ""));
        let (columns, key) = rest.rsplit_once(')').unwrap_or((rest, ""));
        (if key.is_empty() { kind.to_owned() } else { format!("{kind},{key}") }, columns.to_owned())
    };
    let ((plan_kind, plan_columns), (state_kind, state_columns)) = (parts(plan), parts(state));
    let differing = [(plan_kind, state_kind), (plan_columns, state_columns)];
    let differing = differing.iter().filter(|(plan, state)| plan != state);
    let shown =
        differing.map(|(plan, state)| schema::difference_of_texts(("in the plan", plan), ("in the state", state)));
    shown.collect::<Vec<_>>().join("\n")
}

/// A node's window, in words.
fn window(node: &Node) -> Option<String> {
    let window = match &node.operator {
        Operator::Window(window) => window,
        Operator::ReduceWindow(settings) => &settings.window,
        _ => return None,
    };
    Some(format!("{} every {}", draw::duration(window.length_ms), draw::duration(window.slide_ms)))
}

fn note(recovered: &Recovered, parts: &JobParts) {
    let tell = |listener: &Arc<dyn Listener>, message: String| listener.report(&Report::Note { message });
    recovered.notes.iter().for_each(|message| tell(&parts.listener, message.clone()));
    for node in &parts.graph.plan().nodes {
        let before = recovered.meta.get(&format!("{WINDOW}{}", node.name)).map(|text| String::from_utf8_lossy(text));
        if let (Some(before), Some(now)) = (before, window(node))
            && before != now
        {
            let message = format!(
                "the window of node `{}` was {before} and is {now} now; batches that had left the old window stay out of \
                 the first new ones",
                node.name
            );
            tell(&parts.listener, message);
        }
    }
    let known = |name: &String| parts.graph.plan().nodes.iter().any(|node| node.name == *name);
    for name in recovered.nodes.keys().filter(|name| !known(name)) {
        tell(&parts.listener, format!("the state of node `{name}` is kept, but the plan has no such node any more"));
    }
    for name in recovered.sources.keys().filter(|name| !parts.sources.contains_key(*name)) {
        tell(
            &parts.listener,
            format!("the progress of source `{name}` is kept, but the plan has no such source any more"),
        );
    }
}

fn restore_operators(
    parts: &JobParts,
    operators: &mut [Operation],
    mut nodes: BTreeMap<String, NodeState>,
    meta: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    for (node, operation) in parts.graph.plan().nodes.iter().zip(operators) {
        if let Some(operator) = operation.stateful_mut() {
            let last_slide = meta.get(&format!("{LAST_SLIDE}{}", node.name));
            let last_slide = last_slide.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).map(BatchTime);
            let pool = TimedPool::new(&parts.pool, &*parts.clock);
            let state = nodes.remove(&node.name);
            let is_new = state.is_none() && !meta.contains_key(&format!("{BEGUN}{}", node.name));
            let context = Restore { pool, function: &*parts.function, is_new, last_slide };
            operator.restore(state.unwrap_or_default(), &context)?;
        }
    }
    Ok(())
}

fn sources(
    bindings: BTreeMap<String, SourceBinding>,
    mut progress: BTreeMap<String, Vec<StoredEntry>>,
) -> Result<Vec<Source>> {
    let source = |(name, mut binding): (String, SourceBinding)| {
        let entries = progress.remove(&name).unwrap_or_default();
        binding.receiver.restore(entries).map_err(Error::port(format!("source `{name}`")))?;
        Ok(Source { name, receiver: binding.receiver, on_bad_record: binding.on_bad_record })
    };
    bindings.into_iter().map(source).collect()
}

fn sinks(
    bindings: BTreeMap<String, SinkBinding>,
    tokens: &BTreeMap<String, SinkToken>,
) -> Result<BTreeMap<String, Box<dyn Sink>>> {
    let part = |(name, mut binding): (String, SinkBinding)| {
        let tokens = output::unpack(tokens.get(&name));
        let (last, earlier) = tokens.split_last().map_or((None, &[][..]), |(last, earlier)| (Some(last), earlier));
        let wrap = || Error::port(format!("sink `{name}`"));
        earlier.iter().try_for_each(|token| binding.sink.commit(token)).map_err(wrap())?;
        binding.sink.recover(last).map_err(wrap())?;
        Ok((name, binding.sink))
    };
    bindings.into_iter().map(part).collect()
}
