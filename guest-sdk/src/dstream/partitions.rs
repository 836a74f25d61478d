//! Operators on partitions: a function of all rows of one, and another number of them.

use std::sync::Arc;

use super::DStream;
use crate::bindings::millpond::plugin::dataflow::Operator;
use crate::chain::{Emit, PartitionStep};
use crate::plan::NodeName;
use crate::row::{Element, Row};
use crate::rows::Rows;

/// The contract's limit on partitions of a node.
const PARTITIONS_MAX: u32 = 1024;

impl<T: Row> DStream<T> {
    /// All rows of a partition by a function, in one call of it: for work that is set up once for many rows, or that looks at
    /// rows beside each other. Name the result: `map_partitions::<U>`.
    ///
    /// **Shape**: the columns of `U`, under their default names. Any number of rows.
    /// **Order**: [`Rows`] have the partition's order, and so has what the function puts out.
    /// **State and effects**: called once for each partition that has rows, and never for one without (Spark calls it for those
    /// too; ours would then depend on what the host leaves out). How rows come into partitions hangs on splits of the input
    /// and, behind a shuffle, on `job.parallelism`: an answer that does too changes with them. For one call a batch see
    /// [`transform`](Self::transform).
    /// **Cost**: the partition's rows are in the component's memory at once; straight behind a node they lie there anyway,
    /// behind other operators they are copied. An operator that may refuse rows (`try_map` ...) begins a stage of its own behind
    /// this one.
    /// **Source**: `DStream.mapPartitions`.
    ///
    /// ```text
    /// partition    in                      out
    /// 0            "to be", "or not"       "or not"
    /// 1            "is"                    "is"
    /// 2            no rows                 not called
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // The longest line of each partition leaves it, then the longest of all is found.
    /// ctx.text("lines")
    ///     .map_partitions::<String>(|lines, out| {
    ///         if let Some(longest) = lines.iter().max_by_key(|line| line.len()) {
    ///             out.push(longest);
    ///         }
    ///     })
    ///     .reduce(|a, b| if b.len() > a.len() { b.to_owned() } else { a })
    ///     .sink("longest");
    /// # });
    /// ```
    pub fn map_partitions<U: Row>(
        &self,
        function: impl Fn(Rows<'_, T>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        self.by_partition("map_partitions", move |_, rows, out| function(rows, out))
    }

    /// As [`map_partitions`](Self::map_partitions); the function gets the partition's number, from 0, too.
    ///
    /// **Shape**: the columns of `U`, under their default names. Any number of rows.
    /// **Order**: numbers are those of the batch at this place of the job: of the splits behind a source, of the hash's
    /// partitions behind a shuffle. They are the same when a batch is run again.
    /// **Cost**: as [`map_partitions`](Self::map_partitions).
    /// **Source**: `RDD.mapPartitionsWithIndex`, inside `DStream.transform`.
    ///
    /// ```text
    /// partition    in        out
    /// 0            "a", "b"  ((0, 0), "a"), ((0, 1), "b")
    /// 1            "c"       ((1, 0), "c")
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Numbers that differ within a batch, without a shuffle: partition, then place in it.
    /// ctx.text("lines")
    ///     .map_partitions_with_index::<((i64, i64), String)>(|partition, lines, out| {
    ///         for (place, line) in lines.iter().enumerate() {
    ///             out.push(((partition.into(), place as i64), line));
    ///         }
    ///     })
    ///     .sink("numbered");
    /// # });
    /// ```
    pub fn map_partitions_with_index<U: Row>(
        &self,
        function: impl Fn(u32, Rows<'_, T>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        self.by_partition("map_partitions_with_index", function)
    }

    /// All rows of a partition as one row: a list.
    ///
    /// **Shape**: one column, `value`, a list; one row for each partition that has rows.
    /// **Order**: lists have the partition's order.
    /// **Errors**, **Cost**: as [`map_partitions`](Self::map_partitions); and whoever takes such a row has all of the partition in it.
    /// **Source**: `DStream.glom`.
    ///
    /// ```text
    /// partition    in: line            out: value          behind map
    /// 0            "to be", "or"       ["to be", "or"]     2
    /// 1            "not"               ["not"]             1
    /// 2            no rows             no row
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// ctx.text("lines").glom().map::<i64>(|lines| lines.len() as i64).sink("lines-per-partition");
    /// # });
    /// ```
    pub fn glom(&self) -> DStream<Vec<T>>
    where
        T: Element,
    {
        self.by_partition("glom", |_, rows, out| out.push(rows.as_list()))
    }

    fn by_partition<U: Row>(
        &self,
        operator: &'static str,
        step: impl Fn(u32, Rows<'_, T>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        let chain = PartitionStep::new(&self.chain, step);
        self.extend_chain(operator, Self::default_names::<U>(""), Arc::new(chain))
    }

    /// The same rows in `partitions` partitions, each of as many rows as any other or one more: spreads what came in a few large
    /// ones, or brings many small ones together.
    ///
    /// **Shape**: as before.
    /// **Order**: kept, also across partitions: the first partition has the first rows. (Spark deals rows out in turn.)
    /// **Errors**: the plan fails when `partitions` is 0 or more than 1024.
    /// **Cost**: no call into the component of its own. Rows that stay together are not copied.
    /// **Source**: `DStream.repartition`.
    ///
    /// ```text
    /// repartition(2):
    ///
    /// partition    in                   out
    /// 0            "a", "b", "c", "d"   "a", "b", "c"
    /// 1            no rows              "d", "e"
    /// 2            "e"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // A packed file is one split; the work on its lines is for eight.
    /// ctx.text("lines").repartition(8).map_owned(|line| line.to_lowercase()).sink("out");
    /// # });
    /// ```
    pub fn repartition(&self, partitions: u32) -> DStream<T> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            self.refuse(format!("repartition({partitions}): give it a number from 1 to {PARTITIONS_MAX}"));
        }
        self.passed_on(NodeName::Numbered("repartition"), Operator::Repartition(partitions))
    }
}
