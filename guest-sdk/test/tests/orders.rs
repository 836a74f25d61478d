//! Values of every type that has an order: as computed sort keys, alone, turned round and optional, and in min and max by key, per batch
//! and over windows, and as what the first rows are picked by; against Rust's own order of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use millpond::{Date, Decimal, Job, Row, StreamingContext, TimeDelta, Timestamp};
use millpond_test::{JobTest, RunningJob};
use proptest::prelude::*;

/// By name High is before Low, and Low before Middle.
#[derive(Row, Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Level {
    Low,
    Middle,
    High,
}

type Batches<V> = Vec<Vec<(i64, V)>>;

/// Rows of each batch, with numbers that differ.
fn batches<V: Clone + Debug>(values: impl Strategy<Value = V>) -> impl Strategy<Value = Batches<V>> {
    let batch = proptest::collection::vec(values, 0..14);
    proptest::collection::vec(batch, 1..5)
        .prop_map(|batches| batches.into_iter().map(|values| (0..).zip(values).collect()).collect())
}

/// Runs a job; `look` is shown all batches up to the newest one.
fn run<V: Row + Clone>(
    define: fn(&mut StreamingContext),
    batches: &Batches<V>,
    parallelism: usize,
    look: impl Fn(&RunningJob, &[Vec<(i64, V)>]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut job = JobTest::new(Job::new(define)).parallelism(parallelism).start();
    for (number, rows) in batches.iter().enumerate() {
        let (left, right) = rows.split_at(rows.len() / 2);
        job.feed("in", right.to_vec());
        job.feed("in", left.to_vec());
        job.batch();
        look(&job, &batches[..=number])?;
    }
    Ok(())
}

fn order<V: PartialOrd>(left: &V, right: &V) -> Ordering {
    left.partial_cmp(right).expect("no NaN in these tests")
}

/// Ties by the whole row, which begins with a number that differs.
fn sorted<V: Clone>(rows: &[(i64, V)], compare: impl Fn(&(i64, V), &(i64, V)) -> Ordering) -> Vec<(i64, V)> {
    let mut rows = rows.to_vec();
    rows.sort_by(|left, right| compare(left, right).then(left.0.cmp(&right.0)));
    rows
}

/// The least or the largest value of each key.
fn totals<'a, V: Clone + PartialOrd + 'a>(rows: impl Iterator<Item = &'a (i64, V)>, wanted: Ordering) -> Vec<(i64, V)> {
    extremes(rows, i64::MAX, wanted)
}

/// As `totals`, with keys that are as many as `keys`.
fn extremes<'a, V: Clone + PartialOrd + 'a>(
    rows: impl Iterator<Item = &'a (i64, V)>,
    keys: i64,
    wanted: Ordering,
) -> Vec<(i64, V)> {
    let mut best: BTreeMap<i64, V> = BTreeMap::new();
    for (number, value) in rows {
        let best = best.entry(number % keys).or_insert_with(|| value.clone());
        if order(value, best) == wanted {
            *best = value.clone();
        }
    }
    best.into_iter().collect()
}

fn by_key<V: Row>(job: &RunningJob, sink: &str) -> Vec<(i64, V)> {
    let mut rows = job.rows::<(i64, V)>(sink);
    rows.sort_by_key(|(key, _)| *key);
    rows
}

macro_rules! sort_keys {
    ($($test:ident: $type:ty, $values:expr;)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(12))]

            #[test]
            fn $test(batches in batches::<$type>($values), parallelism in 1usize..4) {
                fn define(ctx: &mut StreamingContext) {
                    let rows = ctx.source::<(i64, $type)>("in");
                    rows.sort_by_computed::<$type>(|(_, value)| value).sink("sorted");
                    rows.top_by_computed::<(Reverse<$type>, i64)>(3, |(n, value)| (Reverse(value), n)).sink("last");
                    rows.sort_by_computed::<Option<$type>>(|(n, value)| (n % 2 == 0).then_some(value)).sink("even");
                }
                run(define, &batches, parallelism, |job, batches| {
                    let newest = batches.last().expect("there is one");
                    prop_assert_eq!(
                        job.rows::<(i64, $type)>("sorted"),
                        sorted(newest, |left, right| order(&left.1, &right.1))
                    );
                    let mut last = sorted(newest, |left, right| order(&right.1, &left.1));
                    last.truncate(3);
                    prop_assert_eq!(job.rows::<(i64, $type)>("last"), last);
                    let even = |row: &(i64, $type)| (row.0 % 2 == 0).then(|| row.1.clone());
                    prop_assert_eq!(
                        job.rows::<(i64, $type)>("even"),
                        sorted(newest, |left, right| order(&even(left), &even(right)))
                    );
                    Ok(())
                })?;
            }
        }
    )*};
}

macro_rules! min_and_max {
    ($($test:ident: $type:ty, $values:expr;)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(12))]

            #[test]
            fn $test(batches in batches::<$type>($values), parallelism in 1usize..4) {
                fn define(ctx: &mut StreamingContext) {
                    let rows = ctx.source::<(i64, $type)>("in").map::<(i64, $type)>(|(n, value)| (n % 3, value));
                    rows.min_by_key().sink("least");
                    rows.max_by_key().sink("largest");
                    let (length, slide) = (Duration::from_secs(3), Duration::from_secs(1));
                    rows.min_by_key_and_window(length, slide).sink("least-of-window");
                    rows.max_by_key_and_window(length, slide).sink("largest-of-window");
                }
                run(define, &batches, parallelism, |job, batches| {
                    let newest = batches.last().expect("there is one");
                    let window = || batches[batches.len().saturating_sub(3)..].iter().flatten();
                    for (sink, wanted) in [("least", Ordering::Less), ("largest", Ordering::Greater)] {
                        prop_assert_eq!(by_key::<$type>(job, sink), extremes(newest.iter(), 3, wanted));
                        let of_window = format!("{sink}-of-window");
                        prop_assert_eq!(by_key::<$type>(job, &of_window), extremes(window(), 3, wanted));
                    }
                    Ok(())
                })?;
            }
        }
    )*};
}

/// `top_by` is all that follows the totals of a window, so the host picks its rows among the keys' totals.
macro_rules! first_rows {
    ($($test:ident: $type:ty, $values:expr;)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(12))]

            #[test]
            fn $test(batches in batches::<$type>($values), parallelism in 1usize..4) {
                fn define(ctx: &mut StreamingContext) {
                    let rows = ctx.source::<(i64, $type)>("in");
                    let newest = rows.max_by_key_and_window(Duration::from_secs(3), Duration::from_secs(1));
                    newest.top_by(2, |(n, value)| (Reverse(value), n)).sink("last");
                    let newest = rows.min_by_key_and_window(Duration::from_secs(3), Duration::from_secs(1));
                    newest.top_by(2, |(n, value)| (value, n)).sink("first");
                }
                run(define, &batches, parallelism, |job, batches| {
                    let window = || batches[batches.len().saturating_sub(3)..].iter().flatten();
                    let mut last = sorted(&totals(window(), Ordering::Greater), |left, right| order(&right.1, &left.1));
                    last.truncate(2);
                    prop_assert_eq!(job.rows::<(i64, $type)>("last"), last);
                    let mut first = sorted(&totals(window(), Ordering::Less), |left, right| order(&left.1, &right.1));
                    first.truncate(2);
                    prop_assert_eq!(job.rows::<(i64, $type)>("first"), first);
                    Ok(())
                })?;
            }
        }
    )*};
}

fn levels() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Low), Just(Level::Middle), Just(Level::High)]
}

fn decimals() -> impl Strategy<Value = Decimal<9, 2>> {
    (-500i64..500).prop_map(|n| format!("{}.{:02}", n, n.unsigned_abs() % 100).parse().expect("it has two places"))
}

sort_keys!(
    int8_is_a_sort_key: i8, any::<i8>();
    int16_is_a_sort_key: i16, any::<i16>();
    int32_is_a_sort_key: i32, any::<i32>();
    int64_is_a_sort_key: i64, any::<i64>();
    uint8_is_a_sort_key: u8, any::<u8>();
    uint16_is_a_sort_key: u16, any::<u16>();
    uint32_is_a_sort_key: u32, any::<u32>();
    uint64_is_a_sort_key: u64, any::<u64>();
    float32_is_a_sort_key: f32, (-9i16..9).prop_map(|n| f32::from(n) / 4.0);
    float64_is_a_sort_key: f64, (-9i16..9).prop_map(|n| f64::from(n) / 4.0);
    a_flag_is_a_sort_key: bool, any::<bool>();
    text_is_a_sort_key: String, "[a-c]{0,2}";
    bytes_are_a_sort_key: Vec<u8>, proptest::collection::vec(any::<u8>(), 0..3);
    a_timestamp_is_a_sort_key: Timestamp, any::<i64>().prop_map(Timestamp);
    a_date_is_a_sort_key: Date, (-9i32..9).prop_map(Date);
    a_length_of_time_is_a_sort_key: TimeDelta, (-9i64..9).prop_map(TimeDelta);
    a_decimal_is_a_sort_key: Decimal<9, 2>, decimals();
    an_enum_is_a_sort_key_in_the_order_of_its_variants: Level, levels();
);

min_and_max!(
    int8_has_extremes: i8, any::<i8>();
    uint64_has_extremes: u64, any::<u64>();
    float32_has_extremes: f32, (-9i16..9).prop_map(|n| f32::from(n) / 4.0);
    text_has_extremes: String, "[a-c]{0,2}";
    dates_have_extremes: Date, (-9i32..9).prop_map(Date);
    lengths_of_time_have_extremes: TimeDelta, (-9i64..9).prop_map(TimeDelta);
    decimals_have_extremes: Decimal<9, 2>, decimals();
    enums_have_extremes_in_the_order_of_their_variants: Level, levels();
);

first_rows!(
    int8_is_picked_inside_state: i8, any::<i8>();
    int32_is_picked_inside_state: i32, any::<i32>();
    uint64_is_picked_inside_state: u64, any::<u64>();
    float32_is_picked_inside_state: f32, (-9i16..9).prop_map(|n| f32::from(n) / 4.0);
    dates_are_picked_inside_state: Date, (-9i32..9).prop_map(Date);
    lengths_of_time_are_picked_inside_state: TimeDelta, (-9i64..9).prop_map(TimeDelta);
    decimals_are_picked_inside_state: Decimal<9, 2>, decimals();
    text_is_picked_behind_state: String, "[a-c]{0,2}";
);

#[test]
fn an_enum_is_sorted_by_its_names_as_a_column_and_by_its_variants_as_a_computed_key() {
    fn define(ctx: &mut StreamingContext) {
        let levels = ctx.source::<Level>("in");
        levels.sort_by(|level| level).sink("by-name");
        levels.sort_by_computed::<Level>(|level| level).sink("by-variant");
    }
    let mut job = JobTest::new(Job::new(define)).start();
    job.feed("in", [Level::Middle, Level::High, Level::Low]);
    job.batch();
    job.assert_rows_in_order("by-name", [Level::High, Level::Low, Level::Middle]);
    job.assert_rows_in_order("by-variant", [Level::Low, Level::Middle, Level::High]);
}
