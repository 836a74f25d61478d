//! Joins against a nested loop: all kinds, keys of two columns with nulls, one value column and several, cut and whole.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millpond_core::batch::partitions;
use millpond_core::plan::{Join, JoinKind};
use millpond_core::{BatchTime, Classify, Node, NodeId, Operator, SystemClock};
use millpond_testkit::FakeFunction;
use proptest::prelude::*;

use super::{Limits, Rows, run_within};
use crate::key::{Keys, partition_of};
use crate::operators::timed::TimedFunction;
use crate::operators::{BatchContext, NodeRef, TimedPool};
use crate::{ComputePool, Error};

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::LeftOuter,
    JoinKind::RightOuter,
    JoinKind::FullOuter,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
];

/// Two key columns and two values.
type Row = (Option<String>, i64, i64, Option<String>);
/// The partitions of a batch.
type Batch = Vec<Vec<Row>>;

fn batch() -> impl Strategy<Value = Batch> {
    let row = (
        proptest::option::of("[ab]{0,2}"),
        0i64..2,
        any::<i8>().prop_map(i64::from),
        proptest::option::of("[xy]{0,20}"),
    );
    proptest::collection::vec(proptest::collection::vec(row, 0..12), 0..4)
}

/// A side: its rows, and how many value columns it has.
#[derive(Clone, Debug)]
struct Side {
    batch: Batch,
    values: usize,
}

fn side() -> impl Strategy<Value = Side> {
    (batch(), 1usize..3).prop_map(|(batch, values)| Side { batch, values })
}

fn fields(values: usize) -> Vec<Field> {
    let all = [
        Field::new("k", DataType::Utf8, true),
        Field::new("l", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
        Field::new("w", DataType::Utf8, true),
    ];
    all[..2 + values].to_vec()
}

fn rows(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns[..schema.fields().len()].to_vec()).unwrap()
}

impl Side {
    fn node(&self, name: &str) -> Node {
        let schema = Arc::new(Schema::new(fields(self.values)));
        Node { name: name.to_owned(), operator: Operator::Union, inputs: Vec::new(), schema, key_columns: 2 }
    }

    fn rows(&self, node: &Node) -> Rows {
        Rows::new(partitions(self.batch.iter().map(|partition| rows(&node.schema, partition)).collect()))
    }

    /// The columns as they come out.
    fn output(&self, side: &str, is_optional: bool) -> Vec<Field> {
        let values: Vec<Field> = fields(self.values)[2..]
            .iter()
            .map(|field| field.clone().with_name(format!("{side}{}", field.name())))
            .collect();
        match (is_optional, &values[..]) {
            (false, _) => values,
            (true, [only]) => vec![only.clone().with_nullable(true)],
            (true, _) => vec![Field::new(side, DataType::Struct(values.into()), true)],
        }
    }

    /// A row's values as they are printed.
    fn print(&self, side: &str, row: Option<&Row>, is_optional: bool) -> Vec<String> {
        let Some(row) = row else { return vec!["null".to_owned()] };
        let values = [row.2.to_string(), row.3.clone().unwrap_or_else(|| "null".to_owned())];
        match (is_optional, self.values) {
            (true, 2) => vec![format!("{{{side}v: {}, {side}w: {}}}", values[0], values[1])],
            _ => values[..self.values].to_vec(),
        }
    }
}

fn join_node(kind: JoinKind, left: &Side, right: &Side) -> (Node, Join) {
    let mut columns = fields(0);
    columns.extend(left.output("left", kind.left_is_optional()));
    if !kind.is_left_only() {
        columns.extend(right.output("right", kind.right_is_optional()));
    }
    let join = Join { kind, on: 2, null_equals_null: false };
    let operator = Operator::Join(join);
    let schema = Arc::new(Schema::new(columns));
    (Node { name: "it".to_owned(), operator, inputs: vec![NodeId(0), NodeId(1)], schema, key_columns: 2 }, join)
}

/// What comes out, printed: the key, then the row.
type Printed = Vec<(String, Vec<String>)>;

fn print(output: &Rows) -> Printed {
    let options = FormatOptions::default().with_null("null");
    let mut printed = Vec::new();
    for batch in &output.partitions {
        batch.rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
        let columns: Vec<_> =
            batch.rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.rows.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            printed.push((cells[..2].join("|"), cells));
        }
    }
    by_key(printed)
}

/// Between keys there is no order.
fn by_key(mut rows: Printed) -> Printed {
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    rows
}

/// Every left row beside every right row.
fn model(kind: JoinKind, null_equals_null: bool, left: &Side, right: &Side) -> Printed {
    let (lefts, rights): (Vec<&Row>, Vec<&Row>) =
        (left.batch.iter().flatten().collect(), right.batch.iter().flatten().collect());
    let pair =
        |left: &Row, right: &Row| (left.0.is_some() || null_equals_null) && (&left.0, left.1) == (&right.0, right.1);
    let mut out = Vec::new();
    let mut give = |left_row: Option<&Row>, right_row: Option<&Row>| {
        let key = left_row.or(right_row).expect("one side is there");
        let mut cells = vec![key.0.clone().unwrap_or_else(|| "null".to_owned()), key.1.to_string()];
        cells.extend(left.print("left", left_row, kind.left_is_optional()));
        if !kind.is_left_only() {
            cells.extend(right.print("right", right_row, kind.right_is_optional()));
        }
        out.push((cells[..2].join("|"), cells));
    };
    for row in &lefts {
        let partners: Vec<&&Row> = rights.iter().filter(|other| pair(row, other)).collect();
        match kind {
            JoinKind::LeftSemi if !partners.is_empty() => give(Some(row), None),
            JoinKind::LeftAnti if partners.is_empty() => give(Some(row), None),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            _ => {
                partners.iter().for_each(|partner| give(Some(row), Some(partner)));
                if partners.is_empty() && kind.right_is_optional() {
                    give(Some(row), None);
                }
            }
        }
    }
    if kind.left_is_optional() {
        rights.iter().filter(|row| !lefts.iter().any(|other| pair(other, row))).for_each(|row| give(None, Some(row)));
    }
    by_key(out)
}

fn with_context<T>(parallelism: usize, work: impl FnOnce(&BatchContext<'_>) -> T) -> T {
    let (pool, clock, function) = (ComputePool::try_new(2).unwrap(), SystemClock::new(), FakeFunction::new());
    work(&BatchContext {
        batch_time: BatchTime(1000),
        start: BatchTime(0),
        is_commit: true,
        clock: &clock,
        pool: TimedPool::new(&pool, &clock),
        function: &TimedFunction::new(&function, &clock),
        parallelism,
        counts: Mutex::default(),
    })
}

fn joined(parallelism: usize, kind: JoinKind, sides: (&Side, &Side), limits: Limits) -> Result<Rows, Error> {
    let (node, join) = join_node(kind, sides.0, sides.1);
    let (left, right) = (sides.0.node("left"), sides.1.node("right"));
    let inputs = vec![(&left, sides.0.rows(&left)), (&right, sides.1.rows(&right))];
    with_context(parallelism, |context| {
        run_within(context, NodeRef { id: NodeId(2), node: &node }, inputs, &join, limits)
    })
}

const NO_LIMITS: Limits = Limits { partition_bytes: u64::MAX, batch_bytes: u64::MAX, part_rows: 1000 };

const LIMITS: Limits = Limits { partition_bytes: 1024, batch_bytes: 1 << 30, part_rows: 1000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_kind_gives_what_a_nested_loop_gives(
        left in side(), right in side(), parallelism in 1usize..6, cut in any::<bool>(), part_rows in 1usize..9,
    ) {
        for kind in KINDS {
            let partition_bytes = if cut { 70 } else { u64::MAX };
            let limits = Limits { partition_bytes, part_rows, ..NO_LIMITS };
            let output = joined(parallelism, kind, (&left, &right), limits).unwrap();
            prop_assert_eq!(print(&output), model(kind, false, &left, &right), "{:?}", kind);
            prop_assert!(cut || output.hashes.is_some());
        }
    }

    #[test]
    fn rows_lie_where_the_hashes_that_go_along_with_them_say(left in side(), right in side(), parallelism in 1usize..6, part_rows in 1usize..9) {
        for kind in KINDS {
            let (node, join) = join_node(kind, &left, &right);
            let output = joined(parallelism, kind, (&left, &right), Limits { part_rows, ..NO_LIMITS }).unwrap();
            let hashes = output.hashes.unwrap();
            prop_assert_eq!(output.partitions.len(), parallelism);
            for (batch, hashes) in output.partitions.iter().zip(hashes.iter()) {
                let found = Keys::of("it", &node.schema, join.on, &batch.rows).unwrap().hashes();
                prop_assert_eq!(&found, hashes);
                let place = batch.partition.0 as usize;
                prop_assert!(hashes.iter().all(|hash| partition_of(*hash, parallelism) == place));
            }
        }
    }

    #[test]
    fn whole_rows_are_compared_with_null_as_a_value(left in batch(), right in batch(), parallelism in 1usize..6) {
        let (left, right) = (Side { batch: left, values: 0 }, Side { batch: right, values: 0 });
        for kind in [JoinKind::LeftSemi, JoinKind::LeftAnti] {
            let (mut node, mut join) = join_node(kind, &left, &right);
            join.null_equals_null = true;
            node.key_columns = 1;
            let (left_node, right_node) = (left.node("left"), right.node("right"));
            let inputs = vec![(&left_node, left.rows(&left_node)), (&right_node, right.rows(&right_node))];
            let node = NodeRef { id: NodeId(2), node: &node };
            let output = with_context(parallelism, |context| run_within(context, node, inputs, &join, NO_LIMITS)).unwrap();
            prop_assert!(output.hashes.is_none(), "they are not those of the node's key");
            let expected = model(kind, true, &left, &right);
            prop_assert_eq!(print(&output), expected.into_iter().map(|(key, row)| (key, row[..2].to_vec())).collect::<Printed>());
        }
    }
}

/// So many rows of one key.
fn hot(rows: usize, text: &str) -> Side {
    Side { batch: vec![vec![(Some("k".to_owned()), 0, 1, Some(text.to_owned())); rows]], values: 2 }
}

#[test]
fn a_large_product_is_cut_into_partitions() {
    let output = joined(
        3,
        JoinKind::Inner,
        (&hot(100, "xxxxxxxxxx"), &hot(100, "y")),
        Limits { partition_bytes: 64 * 1024, ..NO_LIMITS },
    )
    .unwrap();
    assert_eq!(print(&output).len(), 10_000);
    assert!(output.partitions.len() > 10 && output.hashes.is_none(), "{} partitions", output.partitions.len());
    assert!(output.partitions.iter().zip(0..).all(|(batch, number)| batch.partition.0 == number));
    let largest = output.partitions.iter().map(|batch| super::super::window::memory(&batch.rows)).max();
    assert!(largest < Some(64 * 1024), "{largest:?}");
}

#[test]
fn a_product_without_bound_is_refused_before_it_is_made() {
    // A hundred thousand rows on either side: ten thousand million pairs.
    for kind in [JoinKind::Inner, JoinKind::LeftOuter, JoinKind::RightOuter, JoinKind::FullOuter] {
        let many = hot(100_000, "x");
        let error = joined(2, kind, (&many, &many), LIMITS).unwrap_err();
        assert_eq!(error.code().to_string(), "MP0805");
        let message = error.to_string();
        for part in ["node `it`", "`left`", "`right`", "10000000000 rows", "merge or filter"] {
            assert!(message.contains(part), "`{message}` says nothing of `{part}`");
        }
    }
    let many = hot(100_000, "x");
    let semi = joined(2, JoinKind::LeftSemi, (&many, &many), Limits { partition_bytes: u64::MAX, ..LIMITS }).unwrap();
    assert_eq!(semi.partitions.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 100_000);
}

#[test]
fn one_long_row_with_many_partners_counts_as_often_as_it_comes_out() {
    let long = "x".repeat(100_000);
    let error = joined(2, JoinKind::Inner, (&hot(1, &long), &hot(50_000, "y")), LIMITS).unwrap_err();
    assert!(matches!(error, Error::JoinTooLarge { bytes, .. } if bytes > 5_000_000_000), "{error}");
}
