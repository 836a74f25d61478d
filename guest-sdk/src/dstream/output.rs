//! Operators that the host runs by itself on whole batches: union, take, other components, sinks; and names of nodes.

use super::{DStream, HostNode};
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::plan::{Code, NodeName};
use crate::row::{self, Row};

/// The contract's limit on a node's name.
const NAME_BYTES_MAX: usize = 128;

impl<T: Row> DStream<T> {
    /// The rows of both streams.
    ///
    /// **Shape**: as this stream, names included; the partitions of both.
    /// **Order**: kept within each partition.
    /// **Source**: `DStream.union`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("left").union(&ctx.text("right")).count().sink("lines");
    /// # });
    /// ```
    pub fn union(&self, other: &DStream<T>) -> DStream<T> {
        let key_columns = self.key_columns();
        let mut other = other.clone();
        other.names.clone_from(&self.names);
        let inputs = vec![self.node(key_columns), other.node(key_columns)];
        let (name, schema) = (NodeName::Numbered("union"), self.schema());
        self.then(HostNode { name, operator: Operator::Union, inputs, schema, key_columns, code: Code::None })
    }

    /// The first `n` rows of each batch, in the order of its partitions.
    ///
    /// **Shape**: as before; at most `n` rows.
    /// **Source**: `RDD.take`, inside `DStream.transform`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").take(5).sink("sample");
    /// # });
    /// ```
    pub fn take(&self, n: u64) -> DStream<T> {
        self.passed_on(NodeName::Numbered("take"), Operator::Take(n))
    }

    /// The rows that another component, of world `transform`, makes of these.
    ///
    /// **Shape**: the columns of `U`, which must be those that the component declares; the job file's `[transforms]` says under
    /// this name which component that is.
    /// **Source**: `DStream.transform`.
    ///
    /// ```
    /// # use millpond::Row;
    /// #[derive(Row)]
    /// struct Scored { text: String, score: f64 }
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("comments").transform_with::<Scored>("sentiment").filter(|row| row.score < 0.0).sink("bad");
    /// # });
    /// ```
    pub fn transform_with<U: Row>(&self, component: &str) -> DStream<U> {
        self.then(HostNode {
            name: NodeName::Numbered("transform"),
            operator: Operator::Transform(component.to_owned()),
            inputs: vec![self.node(self.key_columns())],
            schema: row::fields::<U>(""),
            key_columns: U::KEY_COLUMNS,
            code: Code::None,
        })
    }

    /// Sends the rows to the sink `name` of the job file.
    ///
    /// **State and effects**: what makes a job run: streams that lead to no sink are left out.
    /// **Errors**: the plan fails when two streams go to one sink.
    /// **Source**: `DStream.foreachRDD`, `print`, `saveAsTextFiles`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").sink("copy");
    /// # });
    /// ```
    pub fn sink(&self, name: &str) {
        self.passed_on(NodeName::Fixed(format!("sink {name}")), Operator::Sink(name.to_owned()));
    }

    /// Names the node that the latest operator made: state is kept under this name, and pictures and messages show it. After a
    /// narrow operator it is the stage that will run it.
    ///
    /// **Errors**: the plan fails when the name is empty, longer than 128 bytes, or another node has it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let (hour, minute, second) = (Duration::from_secs(3600), Duration::from_secs(60), Duration::from_secs(1));
    /// let words = ctx.text("words");
    /// words.count_by_value_and_window(minute, second).named("last-minute").sink("minute");
    /// words.count_by_value_and_window(hour, minute).named("last-hour").sink("hour");
    /// # });
    /// ```
    #[must_use]
    pub fn named(&self, name: &str) -> DStream<T> {
        let mut stream = self.clone();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.refuse(format!(
                "named({name:?}): a node's name has 1 to {NAME_BYTES_MAX} bytes, and this one has {}",
                name.len()
            ));
            return stream;
        }
        let given = NodeName::Given(name.to_owned());
        let is_source = |node: &crate::plan::DraftNode| matches!(node.operator, Operator::Source(_));
        if self.latest.is_none() {
            stream.stage_name = Some(name.to_owned());
        } else if !self.change_latest(|node| {
            !is_source(node) && {
                node.name = given;
                true
            }
        }) {
            self.refuse(format!("named({name:?}): a source is called as in the job file"));
        }
        stream
    }

    /// A node of the host with this stream's own columns.
    fn passed_on(&self, name: NodeName, operator: Operator) -> DStream<T> {
        let key_columns = self.key_columns();
        let inputs = vec![self.node(key_columns)];
        self.then(HostNode { name, operator, inputs, schema: self.schema(), key_columns, code: Code::None })
    }
}
