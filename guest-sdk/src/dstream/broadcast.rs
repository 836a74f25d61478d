//! A stream's newest rows as a value that the closures of later operators may read.

use std::sync::Arc;

use super::{DStream, HostNode};
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::broadcast::{self, Broadcast, BroadcastMap, Load};
use crate::plan::{Code, NodeName};
use crate::row::{Key, Row};

impl<T: Row> DStream<T> {
    /// The rows of this stream's newest batch that has any, for the closures of operators after this one: a model, a threshold.
    ///
    /// **Shape**: the batch's rows, all partitions together. Before the first rows there are none.
    /// **Order**: as in the batch; after [`sort_by`](Self::sort_by) it is known. Operators that come later in the job see a batch's
    /// rows from that same batch on.
    /// **State and effects**: the value is part of the job's state, under this name: after a restart it is that of the newest commit.
    /// **Errors**: the plan fails when two broadcasts have one name. A value beyond `limits.broadcast` fails the batch (MP0312).
    /// **Cost**: a value crosses to each instance once; it is written with the commit of its batch.
    /// **Source**: `SparkContext.broadcast` in `DStream.foreachRDD`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let readings = ctx.source::<(String, f64)>("readings");
    /// let hottest = readings.map::<f64>(|(_, celsius)| celsius).reduce(f64::max).broadcast("hottest");
    /// readings
    ///     .filter(move |(_, celsius)| hottest.rows().get(0).is_some_and(|hottest| celsius > hottest - 1.0))
    ///     .sink("hot");
    /// # });
    /// ```
    pub fn broadcast(&self, name: &str) -> Broadcast<T> {
        Broadcast::new(self.broadcast_as(name, Arc::new(broadcast::load_rows::<T>)))
    }

    fn broadcast_as(&self, name: &str, load: Arc<Load>) -> u32 {
        let schema = self.schema();
        let number = self.draft.borrow_mut().broadcast(name, schema.clone(), load);
        self.then::<T>(HostNode {
            name: NodeName::Fixed(format!("broadcast {name}")),
            operator: Operator::Broadcast(number),
            inputs: vec![self.node(self.key_columns())],
            schema,
            key_columns: 0,
            code: Code::None,
        });
        number
    }
}

impl<K: Key, V: Row> DStream<(K, V)> {
    /// As [`broadcast`](Self::broadcast), to be looked up by key. Of several rows with one key the last counts.
    ///
    /// **Cost**: a hash index is made once for each value and instance, not for each call.
    /// **Source**: `SparkContext.broadcast` of `RDD.collectAsMap`, in `DStream.foreachRDD`.
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// let rates = ctx.source::<(String, f64)>("rates").broadcast_map("rates");
    /// ctx.source::<(String, f64)>("orders")
    ///     .map::<(String, f64)>(move |(currency, amount)| (currency, amount * rates.get(currency).unwrap_or(1.0)))
    ///     .sink("in-euros");
    /// # });
    /// ```
    pub fn broadcast_map(&self, name: &str) -> BroadcastMap<K, V> {
        BroadcastMap::new(self.broadcast_as(name, Arc::new(broadcast::load_map::<K, V>)))
    }
}
