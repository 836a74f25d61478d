//! Broadcast values as the runner has them: those from outside, which are looked at before each batch, and the start of the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_core::{BroadcastSource, Listener, Operator, Plan, Report, UserFunction, schema};

use crate::error::{Error, Result};
use crate::shuffle::rename;

/// A value from outside.
struct External {
    number: usize,
    name: String,
    schema: SchemaRef,
    source: Box<dyn BroadcastSource>,
}

/// The values from outside.
pub(crate) struct Broadcasts {
    externals: Vec<External>,
}

impl Broadcasts {
    /// Gives the function every value that there is before the first batch: those from outside, and no rows for those of nodes.
    pub(crate) fn start(
        plan: &Plan,
        mut sources: BTreeMap<String, Box<dyn BroadcastSource>>,
        function: &dyn UserFunction,
        listener: &dyn Listener,
    ) -> Result<Self> {
        let mut externals = Vec::new();
        for (number, broadcast) in plan.broadcasts.iter().enumerate() {
            let (name, schema) = (broadcast.name.clone(), Arc::clone(&broadcast.schema));
            if plan.nodes.iter().any(|node| node.operator == Operator::Broadcast(number)) {
                give(function, number, &name, &RecordBatch::new_empty(schema))?;
                continue;
            }
            let missing = || Error::MissingPart { kind: "broadcast", name: name.clone() };
            let source = sources.remove(&name).ok_or_else(missing)?;
            externals.push(External { number, name, schema, source });
        }
        let mut broadcasts = Self { externals };
        broadcasts.refresh(function, listener)?;
        Ok(broadcasts)
    }

    /// Looks for newer values. Between two batches only: no call may be under way.
    pub(crate) fn refresh(&mut self, function: &dyn UserFunction, listener: &dyn Listener) -> Result<()> {
        for External { number, name, schema, source } in &mut self.externals {
            let poll = source.poll().map_err(Error::port(format!("broadcast `{name}`")))?;
            for note in poll.notes {
                listener.report(&Report::Note { message: format!("broadcast `{name}`: {note}") });
            }
            let Some(rows) = poll.rows else { continue };
            if !schema::same_types(schema, rows.schema_ref()) {
                return Err(Error::SchemaMismatch {
                    node: format!("broadcast {name}"),
                    what: "its value has other columns than the plan says".to_owned(),
                    difference: schema::difference(("in the plan", schema), ("in the value", rows.schema_ref())),
                });
            }
            give(function, *number, name, &rename(name, schema, &rows)?)?;
        }
        Ok(())
    }
}

fn give(function: &dyn UserFunction, number: usize, name: &str, value: &RecordBatch) -> Result<()> {
    function.set_broadcast(number, value).map_err(Error::port(format!("broadcast `{name}`")))
}
