//! What a test says must be: rows of sinks, state, accumulators, refused rows. Rows that are otherwise are shown as a table.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millpond::Row;
use millpond::runtime::{batch_to_rows, rows_to_batch};
use millpond_core::schema::{difference, same_types};
use millpond_core::{Number, Report, StateStore};
use millpond_testkit::diff::{Cells, Order, diff};

use crate::{RunningJob, convert};

/// A row that a closure refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The name of the node that the closure is in.
    pub node: String,
    /// The closure's words.
    pub reason: String,
}

impl RunningJob {
    /// Checks what the newest batch gave to a sink, in any order.
    ///
    /// # Panics
    /// With a table of what is missing, not expected and different; if the job has no such sink, or its rows are of another type.
    ///
    /// ```should_panic
    /// # let mut job = millpond_test::JobTest::new(millpond::Job::new(|ctx| {
    /// #     ctx.text("lines").split(' ').count_by_value().columns(["word", "count"]).sink("counts");
    /// # }))
    /// # .start();
    /// job.feed("lines", ["to be or not to be".to_owned()]);
    /// job.batch();
    /// job.assert_rows("counts", [("be".to_owned(), 2_i64), ("to".to_owned(), 3), ("or".to_owned(), 1)]);
    /// // the rows of sink `counts` after batch 1 are not the expected ones:
    /// //     word   count
    /// //   - "to"   3
    /// //   + "to"   2
    /// //            ^
    /// //   + "not"  1
    /// // 2 rows as expected; 1 differs (^), 0 are missing (-), 1 is not expected (+)
    /// ```
    #[track_caller]
    pub fn assert_rows<T: Row>(&self, sink: &str, expected: impl IntoIterator<Item = T>) {
        self.check_rows(sink, expected, Order::Any);
    }

    /// As [`Self::assert_rows`], but the rows must come in this order: behind `sort_by`, `top_by` and `take`.
    ///
    /// # Panics
    /// As [`Self::assert_rows`].
    #[track_caller]
    pub fn assert_rows_in_order<T: Row>(&self, sink: &str, expected: impl IntoIterator<Item = T>) {
        self.check_rows(sink, expected, Order::Exact);
    }

    /// Checks that the newest batch gave nothing to a sink: a window between two slides, say.
    ///
    /// # Panics
    /// With the rows, if there are some; if the job has no such sink.
    #[track_caller]
    pub fn assert_no_rows(&self, sink: &str) {
        let found = self.newest_rows(sink);
        let table = diff(&names(&found.schema()), &[], &cells(&found), Order::Any);
        assert!(table.is_none(), "batch {} gives rows to sink `{sink}`:\n{}", self.number(), table.unwrap_or_default());
    }

    /// What a stateful node keeps for each key, as of the newest commit, in no order. Of `update_state_by_key` and
    /// `map_with_state` that is the key and its state; the nodes are called so unless they were `named`.
    ///
    /// # Panics
    /// If the plan has no such node, or what it keeps is of another type.
    #[must_use]
    #[track_caller]
    pub fn state<K: Row, S: Row>(&self, node: &str) -> Vec<(K, S)> {
        let Some(rows) = self.state_rows(node) else { return Vec::new() };
        expect_same(&format!("what node `{node}` keeps"), &rows.schema(), &schema_of::<(K, S)>());
        let rows = batch_to_rows::<(K, S)>(convert::to_wire(&rows));
        rows.unwrap_or_else(|failure| panic!("what node `{node}` keeps: {}", failure.message))
    }

    /// Checks what a stateful node keeps, in any order; see [`Self::state`].
    ///
    /// # Panics
    /// With a table of what is missing, not expected and different; and as [`Self::state`].
    #[track_caller]
    pub fn assert_state<K: Row, S: Row>(&self, node: &str, expected: impl IntoIterator<Item = (K, S)>) {
        let found = self.state_rows(node);
        let schema = found.as_ref().map_or_else(schema_of::<(K, S)>, RecordBatch::schema);
        expect_same(&format!("what node `{node}` keeps"), &schema, &schema_of::<(K, S)>());
        let expected = cells(&batch_of(&schema, expected));
        let table = diff(&names(&schema), &expected, &found.map_or_else(Vec::new, |rows| cells(&rows)), Order::Any);
        let number = self.number();
        assert!(
            table.is_none(),
            "the state of node `{node}` after batch {number} is not the expected one:\n{}",
            table.unwrap_or_default()
        );
    }

    /// Checks what an accumulator has come to, as of the newest commit, over all restarts; see [`Self::accumulator`], which also
    /// says whether a minimum or maximum is still one of nothing.
    ///
    /// ```
    /// # use millpond_test::JobTest;
    /// # let mut job = JobTest::new(millpond::Job::new(|ctx| {
    /// #     let (numbers, most) = (ctx.counter("numbers"), ctx.max::<f64>("most"));
    /// #     let note = move |n: f64| {
    /// #         numbers.add(1);
    /// #         most.add(n);
    /// #         true
    /// #     };
    /// #     ctx.source::<f64>("in").filter(note).sink("out");
    /// # }))
    /// # .start();
    /// job.feed("in", [1.5, 2.5]);
    /// job.batch();
    /// job.assert_accumulator("numbers", 2);
    /// job.assert_accumulator("most", 2.5);
    /// ```
    ///
    /// # Panics
    /// With what it should be and what it is; if the job has no such accumulator, with the names of those it has.
    #[track_caller]
    pub fn assert_accumulator(&self, name: &str, expected: impl Into<Number>) {
        let (expected, found) = (expected.into(), self.accumulator(name));
        let is_nan = |number| matches!(number, Number::Float64(value) if value.is_nan());
        let is_expected = found.is_some_and(|found| found == expected || (is_nan(found) && is_nan(expected)));
        let shown = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        let number = self.number();
        assert!(
            is_expected,
            "the accumulator `{name}` after batch {number} is not the expected one: expected {expected}, found {shown}"
        );
    }

    /// The rows that the job's closures refused so far, with their reasons.
    #[must_use]
    pub fn rejections(&self) -> Vec<Rejected> {
        let rejected = |report| match report {
            Report::Rejected { node, reason, .. } => Some(Rejected { node, reason }),
            _ => None,
        };
        self.rejected().into_iter().filter_map(rejected).collect()
    }

    /// Checks the reasons for which closures refused rows so far, in any order.
    ///
    /// # Panics
    /// With a table of what is missing and not expected.
    #[track_caller]
    pub fn assert_rejected<'a>(&self, reasons: impl IntoIterator<Item = &'a str>) {
        let expected: Vec<Cells> = reasons.into_iter().map(|reason| vec![format!("{reason:?}")]).collect();
        let found: Vec<Cells> = self.rejections().iter().map(|row| vec![format!("{:?}", row.reason)]).collect();
        let table = diff(&["reason".to_owned()], &expected, &found, Order::Any);
        assert!(table.is_none(), "the refused rows are not the expected ones:\n{}", table.unwrap_or_default());
    }

    #[track_caller]
    fn check_rows<T: Row>(&self, sink: &str, expected: impl IntoIterator<Item = T>, order: Order) {
        let found = self.newest_rows(sink);
        expect_same(&format!("rows of sink `{sink}`"), &found.schema(), &schema_of::<T>());
        let expected = batch_of(&found.schema(), expected);
        let table = diff(&names(&found.schema()), &cells(&expected), &cells(&found), order);
        assert!(
            table.is_none(),
            "the rows of sink `{sink}` after batch {} are not the expected ones:\n{}",
            self.number(),
            table.unwrap_or_default()
        );
    }

    /// What the newest batch gave to a sink.
    #[track_caller]
    fn newest_rows(&self, sink: &str) -> RecordBatch {
        let sinks = self.graph.sinks();
        let Some((_, schema)) = sinks.iter().find(|(name, _)| *name == sink) else {
            let names: Vec<&str> = sinks.iter().map(|(name, _)| *name).collect();
            panic!("the job has no sink `{sink}`; it has {names:?}");
        };
        let newest = self.sinks[sink].batches().pop().filter(|(time, _)| *time == self.newest);
        let partitions = newest.map(|(_, partitions)| partitions).unwrap_or_default();
        concat_batches(schema, &partitions).expect("a sink gets batches of its own schema")
    }

    #[track_caller]
    fn state_rows(&self, node: &str) -> Option<RecordBatch> {
        let nodes = &self.graph.plan().nodes;
        let found = nodes.iter().find(|known| known.name == node).unwrap_or_else(|| {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            panic!("the plan has no node `{node}`; it has {names:?}")
        });
        let recovered = self.store.clone().recover().expect("a store in memory gives what it has");
        let state = recovered.nodes.get(node)?;
        let rows = millpond_engine::state_rows(&self.graph, found, state);
        rows.unwrap_or_else(|error| panic!("the state of node `{node}`: {error}"))
    }

    /// The newest batch's number, from 1.
    fn number(&self) -> u64 {
        (self.newest.0 - crate::START_MS).unsigned_abs() / self.graph.batch_interval_ms()
    }
}

pub(crate) fn schema_of<T: Row>() -> SchemaRef {
    let mut fields = Vec::new();
    T::fields("", &mut fields);
    convert::schema(fields)
}

#[track_caller]
fn expect_same(what: &str, found: &SchemaRef, wanted: &SchemaRef) {
    if !same_types(found, wanted) {
        let difference = difference(("the test", wanted), ("the job", found));
        panic!("{what} have other columns than the test says\n{difference}");
    }
}

#[track_caller]
fn batch_of<T: Row>(schema: &SchemaRef, rows: impl IntoIterator<Item = T>) -> RecordBatch {
    let batch = rows_to_batch(rows).unwrap_or_else(|failure| panic!("{}", failure.message));
    convert::from_wire(schema, batch).unwrap_or_else(|reason| panic!("the expected rows: {reason}"))
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn cells(batch: &RecordBatch) -> Vec<Cells> {
    let columns: Vec<Cells> = batch.columns().iter().map(column).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// Values as a test would write them.
fn column(array: &ArrayRef) -> Cells {
    if *array.data_type() == DataType::Utf8 {
        let text = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), |text| format!("{text:?}"));
        return array.as_string::<i32>().iter().map(text).collect();
    }
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).expect("every type of a row can be shown");
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}
