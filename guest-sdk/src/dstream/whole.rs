//! Functions over whole batches: all partitions of a batch, of one stream or two, in one call.

use std::sync::Arc;

use super::{DStream, HostNode};
use crate::bindings::millpond::plugin::dataflow::{Operator, Stage};
use crate::bindings::millpond::plugin::types::Failure;
use crate::chain::{Emit, Input};
use crate::plan::{BatchFn, Code, NodeName};
use crate::row::{self, Row};
use crate::rows::Rows;

impl<T: Row> DStream<T> {
    /// Each batch as a whole by a function of one's own: what no other operator does. Name the result: `transform::<U>`.
    ///
    /// **Shape**: the columns of `U`, under their default names, in one partition. Any number of rows.
    /// **Order**: [`Rows`] come partition after partition, each in its order. Which partitions there are hangs on splits of the
    /// input and, behind a shuffle, on `job.parallelism`: where the answer must not, sort first ([`sort_by`](Self::sort_by)).
    /// **State and effects**: called once for every batch, in batches without rows too; behind a window once a slide. The time
    /// of the batch is [`batch_time`](crate::batch_time).
    /// **Errors**: rows that do not fit one call fail the batch: more bytes a column than 32-bit offsets can tell (MP0805), or more
    /// than the component may hold in memory (MP0303, `limits.memory`).
    /// **Cost**: all rows come together in one partition and one call, so nothing runs beside it. Filter and merge before; use
    /// [`map_partitions`](Self::map_partitions) where a partition will do, and [`repartition`](Self::repartition) to spread what
    /// comes out.
    /// **Source**: `DStream.transform`. Spark's function makes an RDD of an RDD, ours rows of rows.
    ///
    /// ```text
    /// in: _1  _2     out: _1  _2
    /// "a"     1.0    "a"      0.25
    /// "b"     3.0    "b"      0.75
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Each number's share of its batch.
    /// ctx.source::<(String, f64)>("amounts")
    ///     .sum_by_key()
    ///     .transform::<(String, f64)>(|rows, out| {
    ///         let total: f64 = rows.iter().map(|(_, amount)| amount).sum();
    ///         rows.iter().for_each(|(name, amount)| out.push((name, amount / total)));
    ///     })
    ///     .sink("shares");
    /// # });
    /// ```
    pub fn transform<U: Row>(
        &self,
        function: impl Fn(Rows<'_, T>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) -> DStream<U> {
        self.whole_batch("transform", None, move |inputs, out| {
            let [batch] = exactly(inputs);
            let (rows, columns) = row::read_batch::<T>(batch.batch, batch.fields)?;
            function(Rows::new(&columns, rows), out);
            Ok(())
        })
    }

    /// The batches of two streams, each as a whole, by a function of both. Name the result:
    /// `transform_with::<_, V>(&other, ...)`.
    ///
    /// **Shape**: the columns of `V`, under their default names, in one partition. Any number of rows.
    /// **Order**, **State and effects**: as [`transform`](Self::transform).
    /// **Errors**: the job does not start when the two streams give batches at different times: behind windows of different slides
    /// (MP0406). Otherwise as `transform`.
    /// **Cost**: as `transform`, with the rows of both.
    /// **Source**: `DStream.transformWith`.
    ///
    /// ```text
    /// in: lines        in: stop-words    out
    /// "buy it now"     "now"             "to be"
    /// "to be"
    /// ```
    ///
    /// ```
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // Lines of the batch with none of the batch's stop words.
    /// let stop_words = ctx.text("stop-words");
    /// ctx.text("lines")
    ///     .transform_with::<_, String>(&stop_words, |lines, stop_words, out| {
    ///         let stop_words: Vec<&str> = stop_words.iter().collect();
    ///         for line in lines {
    ///             if !line.split(' ').any(|word| stop_words.contains(&word)) {
    ///                 out.push(line);
    ///             }
    ///         }
    ///     })
    ///     .sink("kept");
    /// # });
    /// ```
    pub fn transform_with<U: Row, V: Row>(
        &self,
        other: &DStream<U>,
        function: impl Fn(Rows<'_, T>, Rows<'_, U>, &mut Emit<'_, V>) + Send + Sync + 'static,
    ) -> DStream<V> {
        let other = other.node(other.key_columns());
        self.whole_batch("transform_with", Some(other), move |inputs, out| {
            let [left, right] = exactly(inputs);
            let (left_rows, left) = row::read_batch::<T>(left.batch, left.fields)?;
            let (right_rows, right) = row::read_batch::<U>(right.batch, right.fields)?;
            function(Rows::new(&left, left_rows), Rows::new(&right, right_rows), out);
            Ok(())
        })
    }

    /// Each batch as a whole to a function that says what goes to the sink `name` of the job file: any number of rows of
    /// `U`, none too.
    ///
    /// The same as [`transform`](Self::transform) and [`sink`](Self::sink) behind it, under the name that Spark's users look for.
    /// A plugin reaches nothing outside of the job: what it could write to itself in Spark, it writes to a sink here, and the sink
    /// writes each batch exactly as often as its own documentation promises.
    ///
    /// **State and effects**: called once for every batch, in batches without rows too. What a batch without output means is the
    /// sink's mode: only `complete` passes it on.
    /// **Errors**, **Cost**: as `transform`. The plan fails when two streams go to one sink.
    /// **Source**: `DStream.foreachRDD`.
    ///
    /// ```text
    /// batch    in                  the sink `report`
    /// 10:00    "disk", "fan"       10:00  "2 lines, the first is disk"
    /// 10:01    no rows             10:01  "nothing"
    /// ```
    ///
    /// ```
    /// # use millpond::{Timestamp, batch_time};
    /// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
    /// // One line a batch, for quiet ones too.
    /// ctx.text("lines").foreach_batch::<(Timestamp, String)>("report", |lines, out| {
    ///     let report = match lines.get(0) {
    ///         Some(first) => format!("{} lines, the first is {first}", lines.len()),
    ///         None => "nothing".to_owned(),
    ///     };
    ///     out.push((batch_time(), &report));
    /// });
    /// # });
    /// ```
    pub fn foreach_batch<U: Row>(
        &self,
        name: &str,
        function: impl Fn(Rows<'_, T>, &mut Emit<'_, U>) + Send + Sync + 'static,
    ) {
        self.transform(function).sink(name);
    }

    fn whole_batch<U: Row>(
        &self,
        operator: &'static str,
        other: Option<usize>,
        function: impl Fn(Vec<Input<'_>>, &mut Emit<'_, U>) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> DStream<U> {
        let code: Arc<BatchFn> = Arc::new(move |inputs| {
            let (mut columns, mut rows) = (U::Columns::default(), 0);
            function(
                inputs,
                &mut Emit::new(&mut |row| {
                    U::push(&mut columns, row);
                    rows += 1;
                }),
            )?;
            row::write_batch::<U>(rows, columns)
        });
        let inputs = std::iter::once(self.node(self.key_columns())).chain(other).collect();
        self.then(HostNode {
            name: NodeName::Numbered(operator),
            operator: Operator::WholeBatch(Stage { label: operator.to_owned() }),
            inputs,
            schema: row::fields::<U>(""),
            key_columns: U::KEY_COLUMNS,
            code: Code::Batch(code),
        })
    }
}

/// The inputs of a node that has so many: the call was checked for it.
fn exactly<const N: usize>(inputs: Vec<Input<'_>>) -> [Input<'_>; N] {
    let found = inputs.len();
    inputs.try_into().unwrap_or_else(|_| panic!("the node has {N} inputs, and the call {found}"))
}
