//! Operators that the host runs by itself on whole batches: union, take, other components, sinks; and names of nodes.

use super::{DStream, HostNode};
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::plan::{Code, NAME_BYTES_MAX, NodeName};
use crate::row::{self, Row};

impl<T: Row> DStream<T> {
    /// The rows of both streams.
    ///
    /// **Shape**: as this stream, names included; the partitions of both.
    /// **Order**: kept within each partition.
    /// **Cost**: rows are neither copied nor shuffled. Narrow operators behind it are a stage of their own.
    /// **Source**: `DStream.union`.
    ///
    /// ```text
    /// in: left  in: right    out: left, its partitions first
    /// "a"       "c"          "a"
    /// "b"                    "b"
    ///                        "c"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("left").union(&ctx.text("right")).count().sink("lines");
    /// # });
    /// ```
    pub fn union(&self, other: &DStream<T>) -> DStream<T> {
        self.united_with(std::slice::from_ref(other))
    }

    /// The rows of this stream, then those of the others.
    pub(crate) fn united_with(&self, others: &[DStream<T>]) -> DStream<T> {
        let key_columns = self.key_columns();
        let mut inputs = vec![self.node(key_columns)];
        for other in others {
            let mut other = other.clone();
            other.names.clone_from(&self.names);
            inputs.push(other.node(key_columns));
        }
        let (name, schema) = (NodeName::Numbered("union"), self.schema());
        self.then(HostNode { name, operator: Operator::Union, inputs, schema, key_columns, code: Code::None })
    }

    /// The first `n` rows of each batch, in the order of its partitions.
    ///
    /// **Shape**: as before; at most `n` rows.
    /// **Cost**: every row of the batch is made all the same; the first `n` are copied into one partition.
    /// **Source**: `RDD.take`, inside `DStream.transform`.
    ///
    /// ```text
    /// in: 7 rows     out
    /// "a" ... "g"    "a", "b", "c", "d", "e"
    /// ```
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
    /// this name which component that is. For a closure over whole batches see [`transform`](Self::transform).
    /// **Cost**: a call of the other component for each partition that has rows; all its columns are copied in, and what it makes is
    /// copied out.
    /// **Source**: ours; `DStream.transform` where the function is another program.
    ///
    /// ```text
    /// in: line        the component      out: text    score
    /// "what a day"    sentiment      ->  "what a day" 0.8
    /// ```
    ///
    /// ```
    /// # use millpond::Row;
    /// #[derive(Row)]
    /// struct Scored { text: String, score: f64 }
    ///
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("comments").transform_by::<Scored>("sentiment").filter(|row| row.score < 0.0).sink("bad");
    /// # });
    /// ```
    pub fn transform_by<U: Row>(&self, component: &str) -> DStream<U> {
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
    /// **Cost**: what the sink does with the rows, beside the next batch. In mode `update` the rows that came out last are kept, in memory
    /// and in the job's state, and compared with those of the batch.
    /// **Source**: `DStream.saveAsTextFiles`; `print(n)`, which is a sink of type `console` with `rows = n` in the job file. For
    /// `foreachRDD` see [`foreach_batch`](Self::foreach_batch).
    ///
    /// ```text
    /// batch    in          the sink `copy` of the job file
    /// 1        "a", "b"    "a", "b", visible when the batch is committed
    /// ```
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
    /// narrow operator it is the stage that will run it; where several consumers each run the operators (see
    /// [`cache`](Self::cache)), the second's stage gets `-2` behind the name, and so on.
    ///
    /// **Cost**: none.
    /// **Errors**: the plan fails when the name is empty, longer than 128 bytes, or another node has it, or when the node has
    /// another name already.
    ///
    /// ```text
    /// in     out: the same; state is kept under `last-minute` and `last-hour`
    /// "a"    "a"
    /// ```
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
        let called = match self.latest {
            Some(node) => self.name_node(node, name),
            None => match &self.stage_name {
                Some(NodeName::Chain { name: other, .. }) if other != name => Err(other.clone()),
                Some(_) => Ok(()),
                None => {
                    let naming = self.draft.borrow_mut().next_naming();
                    stream.stage_name = Some(NodeName::Chain { name: name.to_owned(), naming });
                    Ok(())
                }
            },
        };
        if let Err(other) = called {
            self.refuse(format!(
                "named({name:?}): what it names is one node, which is called `{other}` already: give a node one name, or put .cache() between narrow operators that are to have two"
            ));
        }
        stream
    }

    /// Names a node; the name that it has if that is another one.
    fn name_node(&self, node: usize, name: &str) -> Result<(), String> {
        let mut draft = self.draft.borrow_mut();
        let node = &mut draft.nodes[node];
        if matches!(node.operator, Operator::Source(_)) {
            draft.error(format!("named({name:?}): a source is called as in the job file"));
            return Ok(());
        }
        match &node.name {
            NodeName::Given(other) | NodeName::Chain { name: other, .. } if other != name => Err(other.clone()),
            NodeName::Chain { .. } => Ok(()),
            _ => {
                node.name = NodeName::Given(name.to_owned());
                Ok(())
            }
        }
    }

    /// A node of the host with this stream's own columns.
    pub(super) fn passed_on(&self, name: NodeName, operator: Operator) -> DStream<T> {
        let key_columns = self.key_columns();
        let inputs = vec![self.node(key_columns)];
        self.then(HostNode { name, operator, inputs, schema: self.schema(), key_columns, code: Code::None })
    }
}
