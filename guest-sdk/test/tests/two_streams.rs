//! Every operator of two streams on the real engine, against a nested loop: random batches, partition counts, batch intervals, windows
//! and restarts.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use common::{INTERVAL, any_interval_ms, intervals, sorted};
use millpond::{DStream, Job, Row, StreamingContext};
use millpond_test::JobTest;
use proptest::prelude::*;

/// A key that may be null, and a value.
type Pair = (Option<String>, i64);
type Side = Vec<Pair>;
/// The values of an outer join.
type Sides = (Option<i64>, Option<i64>);
/// What the two streams bring.
type Batch = (Side, Side);

/// How a job is run.
#[derive(Clone, Debug)]
struct Run {
    batches: Vec<Batch>,
    restarts: BTreeSet<usize>,
    parallelism: usize,
    interval_ms: u64,
    windows: Windows,
}

/// The windows of a job, in batches. Lengths may differ, and be shorter than the slide.
#[derive(Clone, Copy, Debug)]
struct Windows {
    left: usize,
    right: usize,
    slide: usize,
}

fn runs() -> impl Strategy<Value = Run> {
    let side = || proptest::collection::vec((proptest::option::weighted(0.8, "[a-c]{1,2}"), -2i64..3), 0..9);
    let batches = proptest::collection::vec((side(), side()), 1..10);
    let restarts = proptest::collection::btree_set(0usize..10, 0..3);
    let windows = (1usize..6, 1usize..6, 1usize..4).prop_map(|(left, right, slide)| Windows { left, right, slide });
    (batches, restarts, 1usize..6, any_interval_ms(), windows).prop_map(
        |(batches, restarts, parallelism, interval_ms, windows)| Run {
            batches,
            restarts,
            parallelism,
            interval_ms,
            windows,
        },
    )
}

fn left(ctx: &StreamingContext) -> DStream<Pair> {
    ctx.source::<Pair>("left")
}

fn right(ctx: &StreamingContext) -> DStream<Pair> {
    ctx.source::<Pair>("right")
}

/// The rows of the windows of both streams.
fn recent(ctx: &StreamingContext) -> (DStream<Pair>, DStream<Pair>) {
    let batches = |name| intervals(ctx, ctx.param_or(name, 0));
    let slide = batches("slide");
    let left = left(ctx).window(batches("left"), slide).named("recent-left");
    (left, right(ctx).window(batches("right"), slide).named("recent-right"))
}

/// Runs a job and compares each batch, rows in any order. `None` = this batch gives nothing to the sink.
fn check<T>(
    run: &Run,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + Ord + Clone,
{
    check_of(&["left", "right"], run, job, model)
}

/// As `check`, of a job that has only these sources.
fn check_of<T>(
    sources: &[&str],
    run: &Run,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Option<Vec<T>>,
) -> Result<(), TestCaseError>
where
    T: Row + Debug + Ord + Clone,
{
    let test = JobTest::new(Job::new(job)).parallelism(run.parallelism).batch_interval_ms(run.interval_ms);
    let Windows { left, right, slide } = run.windows;
    let test = test.param(INTERVAL, run.interval_ms).param("left", left).param("right", right).param("slide", slide);
    let mut job = test.start();
    let mut expected = Vec::new();
    for (number, (left, right)) in run.batches.iter().enumerate() {
        if run.restarts.contains(&number) {
            job.restart_with_parallelism((run.parallelism + number) % 5 + 1);
        }
        for (source, rows) in sources.iter().zip([left, right]) {
            let (first, second) = rows.split_at(rows.len() / 3);
            job.feed(source, first.to_vec());
            job.feed(source, second.to_vec());
        }
        job.batch();
        expected.extend(model(&run.batches[..=number]).map(sorted));
    }
    let found: Vec<Vec<T>> = job.batches::<T>("out").into_iter().map(|(_, rows)| sorted(rows)).collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

/// The last batch.
fn last(batches: &[Batch]) -> (&Side, &Side) {
    let (left, right) = batches.last().expect("a model is asked for a batch");
    (left, right)
}

/// Each left row beside each right row of its key, as far as there is one.
fn paired(left: &[Pair], right: &[Pair]) -> Vec<(Option<String>, Sides)> {
    let partner = |one: &Pair, other: &Pair| one.0.is_some() && one.0 == other.0;
    let mut rows = Vec::new();
    for row in left {
        let before = rows.len();
        let partners = right.iter().filter(|other| partner(row, other));
        rows.extend(partners.map(|other| (row.0.clone(), (Some(row.1), Some(other.1)))));
        if rows.len() == before {
            rows.push((row.0.clone(), (Some(row.1), None)));
        }
    }
    let lonely = right.iter().filter(|row| !left.iter().any(|other| partner(row, other)));
    rows.extend(lonely.map(|row| (row.0.clone(), (None, Some(row.1)))));
    rows
}

fn inner(left: &[Pair], right: &[Pair]) -> Vec<(Option<String>, (i64, i64))> {
    paired(left, right).into_iter().filter_map(|(key, (left, right))| Some((key, (left?, right?)))).collect()
}

/// The values of each key, in their order.
fn lists(rows: &[Pair]) -> BTreeMap<Option<String>, Vec<i64>> {
    let mut lists: BTreeMap<Option<String>, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|(key, value)| lists.entry(key.clone()).or_default().push(*value));
    lists
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The rows of both sides in their windows; nothing between slides.
fn windows(batches: &[Batch], windows: Windows) -> Option<(Side, Side)> {
    let newest = |length: usize| &batches[batches.len().saturating_sub(length)..];
    batches.len().is_multiple_of(windows.slide).then(|| {
        let left = newest(windows.left).iter().flat_map(|batch| batch.0.clone()).collect();
        (left, newest(windows.right).iter().flat_map(|batch| batch.1.clone()).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn joins(run in runs()) {
        check(&run, |ctx| left(ctx).join(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            Some(inner(left, right))
        })?;
        check(&run, |ctx| left(ctx).left_outer_join(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            let rows = paired(left, right).into_iter();
            Some(rows.filter_map(|(key, (left, right))| Some((key, (left?, right)))).collect::<Vec<_>>())
        })?;
        check(&run, |ctx| left(ctx).right_outer_join(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            let rows = paired(left, right).into_iter();
            Some(rows.filter_map(|(key, (left, right))| Some((key, (left, right?)))).collect::<Vec<_>>())
        })?;
        check(&run, |ctx| left(ctx).full_outer_join(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            Some(paired(left, right))
        })?;
    }

    #[test]
    fn joins_of_what_lies_where_its_key_belongs(run in runs()) {
        // Behind a reduce, a join and a join of a stream with itself nothing is shuffled again.
        check(&run, |ctx| {
            let sums = left(ctx).sum_by_key();
            let both = sums.join(&right(ctx).max_by_key());
            both.left_outer_join(&sums).map::<(Option<String>, i64)>(|(key, ((sum, most), again))| {
                (key, sum * 100 + most * 10 + again.unwrap_or(7))
            }).sink("out");
        }, |batches| {
            let (left, right) = last(batches);
            let keys: BTreeSet<&String> = left.iter().filter_map(|row| row.0.as_ref()).collect();
            let of = |rows: &[Pair], key: &String| -> Vec<i64> {
                rows.iter().filter(|row| row.0.as_ref() == Some(key)).map(|row| row.1).collect()
            };
            Some(keys.into_iter().filter_map(|key| {
                let sum: i64 = of(left, key).iter().sum();
                let most = of(right, key).into_iter().max()?;
                Some((Some(key.clone()), sum * 100 + most * 10 + sum))
            }).collect())
        })?;
    }

    #[test]
    fn joins_of_windows(run in runs()) {
        // Lengths may differ, slides may not.
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.join(&right).sink("out");
        }, |batches| windows(batches, run.windows).map(|(left, right)| inner(&left, &right)))?;
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.left_outer_join(&right).sink("out");
        }, |batches| {
            let (left, right) = windows(batches, run.windows)?;
            let rows = paired(&left, &right).into_iter();
            Some(rows.filter_map(|(key, (left, right))| Some((key, (left?, right)))).collect::<Vec<_>>())
        })?;
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.right_outer_join(&right).sink("out");
        }, |batches| {
            let (left, right) = windows(batches, run.windows)?;
            let rows = paired(&left, &right).into_iter();
            Some(rows.filter_map(|(key, (left, right))| Some((key, (left, right?)))).collect::<Vec<_>>())
        })?;
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.full_outer_join(&right).sink("out");
        }, |batches| windows(batches, run.windows).map(|(left, right)| paired(&left, &right)))?;
    }

    #[test]
    fn windows_less_what_the_other_has(run in runs()) {
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.subtract_by_key(&right).sink("out");
        }, |batches| {
            let (left, right) = windows(batches, run.windows)?;
            let is_there = |row: &Pair| row.0.is_some() && right.iter().any(|other| other.0 == row.0);
            Some(left.into_iter().filter(|row| !is_there(row)).collect())
        })?;
        check(&run, |ctx| {
            let (left, right) = recent(ctx);
            left.subtract(&right).sink("out");
        }, |batches| {
            let (left, right) = windows(batches, run.windows)?;
            Some(left.into_iter().filter(|row| !right.contains(row)).collect())
        })?;
    }

    #[test]
    fn joins_of_rows_of_several_columns(run in runs()) {
        check(&run, |ctx| {
            let wide = right(ctx).map_values::<(i64, (String, Option<bool>))>(|n| (n, ("text", (n != 0).then_some(n > 0))));
            left(ctx).left_outer_join(&wide).sink("out");
        }, |batches| {
            let (left, right) = last(batches);
            let wide = |n: i64| (n, ("text".to_owned(), (n != 0).then_some(n > 0)));
            let rows = paired(left, right).into_iter();
            Some(rows.filter_map(|(key, (left, right))| Some((key, (left?, right.map(wide))))).collect::<Vec<_>>())
        })?;
        check(&run, |ctx| {
            let pair = |n: i64| (n, -n);
            let (left, right) = (left(ctx).map_values::<(i64, i64)>(pair), right(ctx).map_values::<(i64, i64)>(pair));
            left.full_outer_join(&right).sink("out");
        }, |batches| {
            let (left, right) = last(batches);
            let pair = |n: Option<i64>| n.map(|n| (n, -n));
            Some(paired(left, right).into_iter().map(|(key, (left, right))| (key, (pair(left), pair(right)))).collect::<Vec<_>>())
        })?;
    }

    #[test]
    fn groups(run in runs()) {
        check_of(&["left"], &run, |ctx| left(ctx).group_by_key().sink("out"), |batches| {
            Some(lists(last(batches).0).into_iter().collect::<Vec<_>>())
        })?;
        check_of(&["left"], &run, |ctx| {
            left(ctx).map_values::<(i64, Option<String>)>(|n| (n, (n > 0).then_some("yes"))).group_by_key().sink("out");
        }, |batches| {
            let item = |n: i64| (n, (n > 0).then(|| "yes".to_owned()));
            let rows = lists(last(batches).0).into_iter();
            Some(rows.map(|(key, values)| (key, values.into_iter().map(item).collect::<Vec<_>>())).collect::<Vec<_>>())
        })?;
        check_of(&["left"], &run, |ctx| {
            // Where a key's values of a window stand depends on their partitions; which they are does not.
            let sorted = |values: millpond::ListRef<'_, i64>| {
                let mut values: Vec<i64> = values.iter().collect();
                values.sort_unstable();
                values
            };
            let batches = |name| intervals(ctx, ctx.param_or(name, 0));
            left(ctx).group_by_key_and_window(batches("left"), batches("slide")).map_owned(move |(key, values)| {
                (key.map(str::to_owned), sorted(values))
            }).sink("out");
        }, |batches| {
            let rows = lists(&windows(batches, run.windows)?.0).into_iter();
            Some(rows.map(|(key, mut values)| {
                values.sort_unstable();
                (key, values)
            }).collect::<Vec<_>>())
        })?;
    }

    #[test]
    fn groups_of_two_streams(run in runs()) {
        check(&run, |ctx| left(ctx).cogroup(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            let (mut left, mut right) = (lists(left), lists(right));
            // Null keys do not meet.
            let mut rows: Vec<_> = left.remove(&None).into_iter().map(|values| (None, (values, Vec::new()))).collect();
            rows.extend(right.remove(&None).map(|values| (None, (Vec::new(), values))));
            let keys: BTreeSet<Option<String>> = left.keys().chain(right.keys()).cloned().collect();
            rows.extend(keys.into_iter().map(|key| {
                let values = (left.remove(&key).unwrap_or_default(), right.remove(&key).unwrap_or_default());
                (key, values)
            }));
            Some(rows)
        })?;
    }

    #[test]
    fn rows_of_one_stream_that_are_or_are_not_in_the_other(run in runs()) {
        check(&run, |ctx| left(ctx).subtract(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            Some(left.iter().filter(|row| !right.contains(row)).cloned().collect())
        })?;
        check(&run, |ctx| left(ctx).intersect(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            let both: BTreeSet<&Pair> = left.iter().filter(|row| right.contains(row)).collect();
            Some(both.into_iter().cloned().collect())
        })?;
        check(&run, |ctx| left(ctx).subtract_by_key(&right(ctx)).sink("out"), |batches| {
            let (left, right) = last(batches);
            let is_there = |row: &Pair| row.0.is_some() && right.iter().any(|other| other.0 == row.0);
            Some(left.iter().filter(|row| !is_there(row)).cloned().collect())
        })?;
    }
}

#[test]
fn columns_of_both_streams_keep_their_names() {
    fn job(ctx: &mut StreamingContext) {
        let orders = ctx.source::<(i64, (String, f64))>("orders").columns(["order", "item", "price"]);
        let payments = ctx.source::<(i64, f64)>("payments").columns(["order", "price"]);
        orders.left_outer_join(&payments).sink("out");
    }
    let plan = JobTest::new(Job::new(job)).plan().expect("a plan");
    let node = plan.nodes.iter().find(|node| node.name.starts_with("join")).expect("a join");
    let columns: Vec<(&str, bool)> =
        node.schema.fields().iter().map(|field| (field.name().as_str(), field.is_nullable())).collect();
    assert_eq!(columns, [("order", false), ("item", false), ("price", false), ("price_2", true)]);
    assert_eq!(node.key_columns, 1);
}

#[test]
fn windows_that_slide_otherwise_cannot_be_joined() {
    fn job(ctx: &mut StreamingContext) {
        let fast = left(ctx).window(ms(4000), ms(1000)).named("fast");
        fast.join(&right(ctx).window(ms(4000), ms(2000)).named("slow")).named("both").sink("out");
    }
    let refused = JobTest::new(Job::new(job)).plan().expect_err("two slides");
    for part in ["`both`", "`fast` gives rows every 1000 ms", "`slow` every 2000 ms", "use the same slide"] {
        assert!(refused.contains(part), "`{refused}` says nothing of `{part}`");
    }
}

/// A key that may be null as a whole, and in one of its parts.
type Nested = Option<(Option<i64>, i64)>;

#[test]
fn a_null_inside_of_a_key_matches_nothing() {
    let job = |ctx: &mut StreamingContext| {
        let [left, right] = ["left", "right"].map(|name| ctx.source::<(Nested, i64)>(name));
        left.join(&right).sink("joined");
        left.full_outer_join(&right).sink("outer");
        left.subtract_by_key(&right).sink("rest");
        left.cogroup(&right).sink("groups");
    };
    let mut job = JobTest::new(Job::new(job)).parallelism(3).start();
    let keys = || [Some((None, 1)), Some((Some(1), 1)), None];
    job.feed("left", keys().into_iter().zip([1, 2, 3]).collect::<Vec<(Nested, i64)>>());
    job.feed("right", keys().into_iter().zip([10, 20, 30]).collect::<Vec<(Nested, i64)>>());
    job.batch();
    let whole = || Some((Some(1), 1));
    assert_eq!(job.rows::<(Nested, (i64, i64))>("joined"), [(whole(), (2, 20))]);
    assert_eq!(job.rows::<(Nested, Sides)>("outer").len(), 5, "the others stand alone, on either side");
    let rest: Vec<i64> = job.rows::<(Nested, i64)>("rest").into_iter().map(|(_, n)| n).collect();
    assert_eq!(sorted(rest), [1, 3]);
    let groups = job.rows::<(Nested, (Vec<i64>, Vec<i64>))>("groups");
    assert_eq!(groups.len(), 5);
    assert!(groups.contains(&(whole(), (vec![2], vec![20]))), "{groups:?}");
}
