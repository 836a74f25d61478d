//! One small job for every operator of the SDK, chosen by the param `job`: what runs natively must run the same as a component, and
//! as the golden cases in `tests/` say, which are called as the jobs are.
//!
//! Every job reads pairs of text and number from `in` and writes such pairs to `out`. Those of golden cases do not depend on how many
//! partitions a source has: where an operator does, they stand behind `repartition`.

use std::cmp::Reverse;
use std::time::Duration;

use millpond::{DStream, Emit, ListRef, Row, Rows, State, StreamingContext, Timestamp, Values};

millpond::job!(operators);

/// Rows in and out.
pub type Pair = (String, i64);

/// The values of an outer join.
type Optionals = (Option<i64>, Option<i64>);

/// A value with the times of its session.
type Timed = (i64, Timestamp, Timestamp);

/// What a job does between source and sink.
pub type Operators = fn(DStream<Pair>) -> DStream<Pair>;

/// Every job that there is.
pub const JOBS: &[(&str, Operators)] = &[
    ("StreamingContext.source", |rows| rows),
    ("map", |rows| rows.map::<Pair>(|(key, n)| (key, n + 1))),
    ("map_owned", |rows| rows.map_owned(|(key, n)| (format!("{key}{key}"), n))),
    ("flat_map", |rows| rows.flat_map::<Pair>(|(key, n), out| (0..n).for_each(|i| out.push((key, i))))),
    ("split", |rows| rows.map_owned(|(key, n)| format!("{key} {n}")).cache().split(' ').count_by_value()),
    ("columns", |rows| rows.columns(["name", "amount"])),
    ("named", |rows| {
        let totals = rows.update_state_by_key(total).named("totals");
        totals.update_state_by_key(total).named("totals-of-totals")
    }),
    ("filter", |rows| rows.filter(|(key, _)| key != "a")),
    ("key_by", |rows| rows.key_by::<bool>(|(_, n)| n > 0).map::<Pair>(|(_, row)| row)),
    ("map_values", |rows| rows.map_values::<i64>(|n| n * n)),
    ("try_map", |rows| rows.try_map::<Pair>(|(key, n)| if n < 0 { Err("negative".into()) } else { Ok((key, n)) })),
    ("try_flat_map", |rows| {
        rows.try_flat_map::<Pair>(|(key, n), out| {
            out.push((key, n));
            if n == 2 { Err("two".into()) } else { Ok(()) }
        })
    }),
    ("try_key_by", |rows| {
        let sign = |(_, n): (&str, i64)| if n == 0 { Err("zero".into()) } else { Ok(n > 0) };
        rows.try_key_by::<bool>(sign).map::<Pair>(|(is_positive, (key, n))| (key, if is_positive { n } else { n * 10 }))
    }),
    ("try_map_values", |rows| rows.try_map_values::<i64>(|n| if n == 3 { Err("three".into()) } else { Ok(-n) })),
    ("try_filter", |rows| rows.try_filter(|(_, n)| if n == 3 { Err("three".into()) } else { Ok(n > 0) })),
    ("reduce_by_key", |rows| rows.reduce_by_key(|a, b| a.max(b))),
    ("sum_by_key", |rows| rows.sum_by_key()),
    ("count_by_key", |rows| rows.count_by_key()),
    ("min_by_key", |rows| rows.min_by_key()),
    ("max_by_key", |rows| rows.max_by_key()),
    ("mean_by_key", |rows| rows.mean_by_key().map::<Pair>(|(key, mean)| (key, (mean * 1000.0) as i64))),
    ("count", |rows| named(&rows.count())),
    ("reduce", |rows| named(&rows.map::<i64>(|(_, n)| n).reduce(|a, b| a.min(b)))),
    ("count_by_value", |rows| rows.map::<String>(|(key, _)| key).count_by_value()),
    ("union", |rows| rows.union(&rows.filter(|(_, n)| n > 1).map_values::<i64>(|n| -n))),
    ("cache", |rows| {
        let cached = rows.filter(|(_, n)| n > 0).cache();
        cached.union(&cached.map_values::<i64>(|n| -n)).sum_by_key()
    }),
    ("join", |rows| both(&rows.join(&small(&rows)))),
    ("left_outer_join", |rows| {
        optional(&rows.left_outer_join(&small(&rows)).map_values::<Optionals>(|(a, b)| (Some(a), b)))
    }),
    ("right_outer_join", |rows| {
        optional(&small(&rows).right_outer_join(&rows).map_values::<Optionals>(|(a, b)| (a, Some(b))))
    }),
    ("full_outer_join", |rows| optional(&small(&rows).full_outer_join(&rows.filter(|(_, n)| n > 0)))),
    ("join_of_windows", |rows| {
        let recent = rows.window(SECONDS_3, SECONDS_1).named("recent");
        both(&recent.join(&small(&rows).window(SECONDS_2, SECONDS_1).named("small")))
    }),
    ("left_outer_join_of_tuples", |rows| {
        let tuples = small(&rows).map_values::<(i64, (String, bool))>(|n| (n, ("text", n > 0)));
        rows.left_outer_join(&tuples).map_values::<i64>(|(n, found)| {
            found.map_or(n, |(m, (text, is_positive))| n * 100 + m * 10 + text.len() as i64 + i64::from(is_positive))
        })
    }),
    ("group_by_key", |rows| rows.group_by_key().map_values::<i64>(digits)),
    ("group_by_key_and_window", |rows| {
        let recent = rows.map_values::<(i64, bool)>(|n| (n, n > 1)).group_by_key_and_window(SECONDS_3, SECONDS_1);
        recent.map_values::<i64>(|values| values.iter().map(|(n, is_large)| n + i64::from(is_large)).sum())
    }),
    ("cogroup", |rows| {
        let groups = rows.cogroup(&small(&rows));
        groups.map_values::<i64>(|(all, small)| {
            all.iter().sum::<i64>() * 100 + small.iter().sum::<i64>() * 10 + small.len() as i64
        })
    }),
    ("subtract", |rows| rows.subtract(&small(&rows))),
    ("intersect", |rows| rows.intersect(&small(&rows))),
    ("subtract_by_key", |rows| rows.subtract_by_key(&small(&rows))),
    ("window", |rows| rows.window(SECONDS_3, SECONDS_2)),
    ("count_by_window", |rows| named(&rows.count_by_window(SECONDS_2, SECONDS_1))),
    ("reduce_by_window", |rows| {
        named(&rows.map::<i64>(|(_, n)| n).reduce_by_window(|a, b| a.max(b), SECONDS_3, SECONDS_1))
    }),
    ("reduce_by_window_with_inverse", |rows| {
        let small = rows.filter(|(key, _)| key == "b" || key == "d").map::<i64>(|(_, n)| n);
        named(&small.reduce_by_window_with_inverse(|a, b| a + b, |a, b| a - b, SECONDS_2, SECONDS_1))
    }),
    ("count_by_value_and_window", |rows| {
        rows.map::<String>(|(key, _)| key).count_by_value_and_window(SECONDS_3, SECONDS_1)
    }),
    ("reduce_by_key_and_window", |rows| rows.reduce_by_key_and_window(|a, b| a + b, SECONDS_3, SECONDS_1)),
    ("reduce_by_key_and_window_with_inverse", |rows| {
        rows.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, SECONDS_3, SECONDS_1)
    }),
    ("reduce_by_key_and_window_with_inverse_and_filter", |rows| {
        rows.reduce_by_key_and_window_with_inverse_and_filter(
            |a, b| a + b,
            |a, b| a - b,
            SECONDS_3,
            SECONDS_1,
            |(_, n)| n > 0,
        )
    }),
    ("keep_empty_keys", |rows| {
        rows.reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, SECONDS_2, SECONDS_1).keep_empty_keys()
    }),
    ("sum_by_key_and_window", |rows| rows.sum_by_key_and_window(SECONDS_3, SECONDS_1)),
    ("min_by_key_and_window", |rows| rows.min_by_key_and_window(SECONDS_3, SECONDS_1)),
    ("max_by_key_and_window", |rows| rows.max_by_key_and_window(SECONDS_3, SECONDS_1)),
    ("update_state_by_key", |rows| rows.update_state_by_key(total)),
    ("every_batch", |rows| rows.update_state_by_key(age).every_batch()),
    ("initial_state", |rows| rows.update_state_by_key(total).initial_state([("a".to_owned(), 7), ("z".to_owned(), 1)])),
    ("map_with_state", |rows| (*rows.map_with_state(numbered)).clone()),
    ("MappedWithState.timeout", |rows| (*rows.map_with_state(numbered).timeout(SECONDS_1)).clone()),
    ("MappedWithState.initial_state", |rows| {
        (*rows.map_with_state(numbered).initial_state([("a".to_owned(), 7), ("z".to_owned(), 1)])).clone()
    }),
    ("MappedWithState.named", |rows| {
        let first = rows.map_with_state(numbered).named("first");
        (*first.map_with_state(numbered).named("second")).clone()
    }),
    ("State", |rows| (*rows.map_with_state(visited).timeout(SECONDS_2)).clone()),
    ("MappedWithState.state_snapshots", |rows| {
        rows.map_with_state(numbered).timeout(SECONDS_2).initial_state([("z".to_owned(), 1)]).state_snapshots()
    }),
    ("reduce_by_key_and_session", |rows| timed(&rows.reduce_by_key_and_session(|a, b| a.max(b), SECONDS_1))),
    ("sum_by_key_and_session", |rows| timed(&rows.sum_by_key_and_session(SECONDS_2))),
    ("count_by_key_and_session", |rows| timed(&rows.count_by_key_and_session(SECONDS_1))),
    ("group_by_key_and_session", |rows| {
        let sessions = rows.group_by_key_and_session(SECONDS_1);
        timed(&sessions.map_values::<Timed>(|(values, start, end)| (digits(values), start, end)))
    }),
    ("sort_by", |rows| rows.sort_by(|(key, n)| (Reverse(n), key))),
    ("top_by", |rows| rows.top_by(2, |(key, n)| (n, Reverse(key)))),
    ("sort_by_computed", |rows| rows.sort_by_computed::<i64>(|(_, n)| n * n)),
    ("top_by_computed", |rows| rows.top_by_computed::<i64>(2, |(_, n)| -n.abs())),
    ("take", |rows| rows.sort_by(|(key, n)| (key, n)).take(2)),
    ("batch_time", |rows| rows.map::<Pair>(|(key, _)| (key, millpond::batch_time().0))),
    ("flat_map_values", |rows| rows.flat_map_values::<i64>(|n, out| (0..n).for_each(|i| out.push(i)))),
    ("keys", |rows| rows.keys().map::<Pair>(|key| (key, 0))),
    ("values", |rows| named(&rows.values())),
    ("map_partitions_of_a_source", |rows| {
        rows.map_partitions::<Pair>(|rows, out| {
            rows.iter().rev().zip(0..).for_each(|((key, n), place)| out.push((key, n * 10 + place)));
        })
    }),
    ("map_partitions", |rows| {
        rows.repartition(2).map_partitions::<Pair>(|rows, out| {
            rows.iter().rev().zip(0..).for_each(|((key, n), place)| out.push((key, n * 10 + place)));
        })
    }),
    ("map_partitions_with_index", |rows| {
        let parts = rows.repartition(2).map_partitions_with_index::<Pair>(|partition, rows, out| {
            rows.iter().for_each(|(key, n)| out.push((key, n + 100 * i64::from(partition))));
        });
        parts.try_filter(|(_, n)| if n == 101 { Err("101".into()) } else { Ok(true) })
    }),
    ("glom", |rows| {
        let lists = rows.repartition(2).glom().repartition(1);
        lists.map_owned(|list| (list.iter().map(|(key, _)| key).collect(), list.iter().map(|(_, n)| n).sum()))
    }),
    ("combine_by_key", |rows| {
        let combined = rows.combine_by_key::<(String, i64)>(
            |n| (n.to_string(), 1),
            |(largest, count), n| (largest.max(n.to_string()), count + 1),
            |(largest, count), other| (largest.max(other.0.to_owned()), count + other.1),
        );
        combined.map_owned(|(key, (largest, count))| (format!("{key} {largest}"), count))
    }),
    ("aggregate_by_key", |rows| {
        let spread = rows.aggregate_by_key(
            (i64::MAX, i64::MIN),
            |(least, most), n| (least.min(n), most.max(n)),
            |a, b| (a.0.min(b.0), a.1.max(b.1)),
        );
        spread.map_values::<i64>(|(least, most)| most - least)
    }),
    ("fold_by_key", |rows| rows.fold_by_key(1, |a, b| a * b)),
    ("distinct", |rows| rows.union(&rows).distinct()),
    ("repartition", |rows| {
        rows.repartition(3).map_partitions_with_index::<Pair>(|partition, rows, out| {
            rows.iter().for_each(|(key, n)| out.push((key, n * 10 + i64::from(partition))));
        })
    }),
    ("transform", |rows| {
        rows.transform::<Pair>(|rows, out| {
            out.push(("rows", rows.len() as i64));
            rows.iter().rev().for_each(|row| out.push(row));
        })
    }),
    ("transform_with", |rows| {
        let sums = rows.sum_by_key().sort_by(|(key, _)| key);
        rows.transform_with::<_, Pair>(&sums, |rows, sums, out| {
            for (key, n) in rows {
                sums.iter().filter(|(other, _)| *other == key).for_each(|(_, sum)| out.push((key, sum - n)));
            }
            out.push((if sums.is_empty() { "empty" } else { "" }, millpond::batch_time().0));
        })
    }),
    ("broadcast", |rows| {
        let most = rows.values().reduce(i64::max).broadcast("most");
        rows.map::<Pair>(move |(key, n)| (key, most.rows().get(0).unwrap_or(0) - n))
    }),
    ("broadcast_map", |rows| {
        // Of several rows with one key the last counts: that with the largest number.
        let largest = rows.sort_by(|(key, n)| (key, n)).broadcast_map("largest");
        rows.map::<Pair>(move |(key, n)| (key, largest.get(key).unwrap_or(0) * 10 + n))
    }),
    ("sink", |rows| rows.filter(|(_, n)| n > 1)),
    ("sink_update", |rows| rows.update_state_by_key(total)),
    ("derived_rows", |rows| {
        let visits = rows.map::<Visit>(|(page, n)| VisitRef { page, seconds: (n > 0).then_some(n as f64) });
        visits.map::<Pair>(|visit| (visit.page, visit.seconds.map_or(-1, |seconds| seconds as i64)))
    }),
];

/// A job that needs more of the context than its source.
pub type WithContext = fn(&StreamingContext) -> DStream<Pair>;

/// The others.
pub const JOBS_WITH_CONTEXT: &[(&str, WithContext)] = &[
    ("StreamingContext.union", |ctx| {
        let rows = ctx.source::<Pair>("in");
        ctx.union(&[rows.filter(|(_, n)| n > 1), rows.map_values::<i64>(|n| -n), rows])
    }),
    ("accumulators", accumulators),
    ("broadcasts", broadcasts),
    ("rates", rates),
    ("StreamingContext.broadcast", |ctx| {
        let stop = ctx.broadcast::<String>("stop");
        ctx.source::<Pair>("in").filter(move |(key, _)| !stop.rows().iter().any(|word| word == key))
    }),
    ("StreamingContext.param_or", |ctx| {
        let (least, most) = (ctx.param_or("least", 1_i64), ctx.param_or("most", 3));
        ctx.source::<Pair>("in").filter(move |(_, n)| (least..=most).contains(&n))
    }),
];

const SECONDS_1: Duration = Duration::from_secs(1);
const SECONDS_2: Duration = Duration::from_secs(2);
const SECONDS_3: Duration = Duration::from_secs(3);

/// A row with a name and an optional part.
#[derive(Row, Debug, PartialEq)]
pub struct Visit {
    page: String,
    seconds: Option<f64>,
}

/// A job of other rows: lines of text.
const LINES: &str = "StreamingContext.text";

/// Jobs that end in other ways.
pub const OTHER_JOBS: &[&str] = &["foreach_batch"];

/// Jobs whose closures panic as soon as they are called, and the node in which they do.
pub const PANICS: &[(&str, &str, Operators)] = &[
    ("flat_map_values", "stage-1", |rows| rows.flat_map_values::<i64>(|n, _| panic!("no values of {n}"))),
    ("map_partitions", "stage-1", |rows| rows.map_partitions::<Pair>(|rows, _| panic!("{} rows", rows.len()))),
    ("map_partitions_with_index", "stage-1", |rows| {
        rows.map_partitions_with_index::<Pair>(|partition, _, _| panic!("not {partition}"))
    }),
    ("combine_by_key create", "stage-1", |rows| {
        rows.combine_by_key::<i64>(|n| panic!("not with {n}"), |sum, _| sum, |sum, _| sum)
    }),
    ("combine_by_key merge_combiners", "reduce-2", |rows| {
        rows.combine_by_key::<i64>(|n| n, |sum, n| sum + n, |_, _| panic!("never together"))
    }),
    ("aggregate_by_key", "stage-1", |rows| rows.aggregate_by_key(0, |_, n| panic!("not with {n}"), |sum, _| sum)),
    ("fold_by_key", "stage-1", |rows| rows.fold_by_key(0, |_, n| panic!("not with {n}"))),
    ("transform", "transform-1", |rows| rows.transform::<Pair>(|rows, _| panic!("{} rows", rows.len()))),
    ("transform_with", "both", |rows| {
        let both = rows.transform_with::<_, Pair>(&rows, |left, right, _| panic!("{} = {}", left.len(), right.len()));
        both.named("both")
    }),
];

/// The dataflow.
pub fn operators(ctx: &mut StreamingContext) {
    let name = ctx.param("job").unwrap_or_default();
    let job = JOBS.iter().find(|(job, _)| *job == name).map(|(_, job)| job);
    let job = job.or_else(|| PANICS.iter().find(|(job, ..)| name == format!("panic in {job}")).map(|(.., job)| job));
    let rows = match job {
        Some(job) => Some(job(ctx.source::<Pair>("in"))),
        None => JOBS_WITH_CONTEXT.iter().find(|(job, _)| *job == name).map(|(_, job)| job(ctx)),
    };
    match rows {
        Some(rows) => rows.columns(["text", "number"]).sink("out"),
        None if name == LINES => {
            ctx.text("in").map::<Pair>(|line| (line, line.len() as i64)).columns(["text", "number"]).sink("out");
        }
        None if name == "foreach_batch" => {
            ctx.source::<Pair>("in").foreach_batch::<Pair>("out", |rows, out| {
                out.push(("", millpond::batch_time().0));
                rows.iter().for_each(|row| out.push(row));
            });
        }
        None => ctx.refuse(format!("there is no job `{name}`")),
    }
}

/// A value from outside: numbers by text.
fn rates(ctx: &StreamingContext) -> DStream<Pair> {
    let rates = ctx.broadcast_map::<String, i64>("rates");
    ctx.source::<Pair>("in").map::<Pair>(move |(key, n)| (key, n * rates.get(key).unwrap_or(1)))
}

/// Values from outside and from a stream, in every kind of call.
fn broadcasts(ctx: &StreamingContext) -> DStream<Pair> {
    let rates = ctx.broadcast_map::<String, i64>("rates");
    let rows = ctx.source::<Pair>("in");
    let newest = rows.sort_by(|(key, n)| (key, n)).broadcast("newest");
    let counts = rows.count_by_key().broadcast_map("counts");
    let note = move |(key, n): (&str, i64)| {
        let all = newest.rows().iter().map(|(key, n)| format!("{key}{n}")).collect::<Vec<_>>().join(",");
        (format!("{key}: {all}"), n * rates.get(key).unwrap_or(1) + counts.entries().get(key).unwrap_or(0))
    };
    let add = move |values: Values<'_, i64>, old: Option<i64>| {
        Some(old.unwrap_or(0) + values.sum() * rates.get("a").unwrap_or(1) + newest.rows().len() as i64)
    };
    let merge = move |left: i64, right: i64| left.max(right).min(rates.get("most").unwrap_or(i64::MAX));
    rows.map_owned(note).union(&rows.update_state_by_key(add)).union(&rows.reduce_by_key(merge))
}

/// Every kind of accumulator, in every kind of call.
fn accumulators(ctx: &StreamingContext) -> DStream<Pair> {
    let (rows, sum, halves) = (ctx.counter("rows"), ctx.sum::<i64>("sum"), ctx.sum::<f64>("halves"));
    let (least, most) = (ctx.min::<i64>("least"), ctx.max::<i64>("most"));
    let (coldest, hottest) = (ctx.min::<f64>("coldest"), ctx.max::<f64>("hottest"));
    let (merges, inverses, updates) = (ctx.counter("merges"), ctx.counter("inverses"), ctx.counter("updates"));
    let partitions = ctx.counter("partitions");
    let count = move |(_, n): (&str, i64)| {
        rows.add(1);
        sum.add(n);
        halves.add(n as f64 / 2.0);
        least.add(n);
        most.add(n);
        coldest.add(n as f64);
        hottest.add(n as f64);
        true
    };
    let merge = move |left: i64, right: i64| {
        merges.add(1);
        left + right
    };
    let inverse = move |left: i64, right: i64| {
        inverses.add(1);
        left - right
    };
    let update = move |values: Values<'_, i64>, old: Option<i64>| {
        updates.add(1);
        total(values, old)
    };
    let count_partition = move |rows: Rows<'_, Pair>, out: &mut Emit<'_, Pair>| {
        partitions.add(1);
        rows.iter().for_each(|row| out.push(row));
    };
    let counted = ctx.source::<Pair>("in").filter(count).map_partitions(count_partition).cache();
    let states = counted.reduce_by_key_and_window_with_inverse(merge, inverse, SECONDS_3, SECONDS_1);
    let batches = ctx.counter("batches");
    states.update_state_by_key(update).transform::<Pair>(move |rows, out| {
        batches.add(1);
        rows.iter().for_each(|row| out.push(row));
    })
}

fn named(numbers: &DStream<i64>) -> DStream<Pair> {
    numbers.map::<Pair>(|n| ("n", n))
}

/// Sums, and forgets a key whose sum is 3; the sum of a key that times out comes out negative.
fn numbered(key: &str, value: Option<i64>, sum: &mut State<'_, i64>) -> Option<Pair> {
    let before = sum.get().unwrap_or(0);
    match value {
        None => Some((key.to_owned(), -before)),
        Some(0) => None,
        Some(value) => {
            if before + value == 3 {
                sum.remove()
            } else {
                sum.update(before + value)
            }
            Some((key.to_owned(), before + value))
        }
    }
}

/// Counts visits; every third one ends the count, and a count that times out comes out by its hundreds.
fn visited(key: &str, value: Option<i64>, visits: &mut State<'_, i64>) -> Option<Pair> {
    let before = visits.get().unwrap_or(0);
    if visits.is_timing_out() {
        return Some((key.to_owned(), before * 100 + i64::from(value.is_some())));
    }
    match before {
        2 => visits.remove(),
        _ => visits.update(before + 1),
    }
    Some((key.to_owned(), i64::from(visits.exists()) * 10 + before))
}

/// Values with how long their sessions were.
fn timed(sessions: &DStream<(String, Timed)>) -> DStream<Pair> {
    sessions.map::<Pair>(|(key, (value, start, end))| (key, value * 1000 + (end.0 - start.0) / 1_000_000))
}

/// All values of a list in one number; between partitions they have no order, so they are sorted first.
fn digits(values: ListRef<'_, i64>) -> i64 {
    let mut sorted: Vec<i64> = values.iter().collect();
    sorted.sort_unstable();
    sorted.iter().fold(7, |all, n| all * 10 + n)
}

/// Some of the rows, as another stream.
fn small(rows: &DStream<Pair>) -> DStream<Pair> {
    rows.filter(|(key, n)| n < 3 && key != "c")
}

fn both(joined: &DStream<(String, (i64, i64))>) -> DStream<Pair> {
    joined.map_values::<i64>(|(left, right)| left * 100 + right)
}

fn optional(joined: &DStream<(String, Optionals)>) -> DStream<Pair> {
    joined.map_values::<i64>(|(left, right)| left.unwrap_or(50) * 100 + right.unwrap_or(50))
}

fn total(values: Values<'_, i64>, total: Option<i64>) -> Option<i64> {
    Some(total.unwrap_or(0) + values.sum()).filter(|total| *total != 0)
}

fn age(_: Values<'_, i64>, age: Option<i64>) -> Option<i64> {
    Some(age.unwrap_or(0) + 1).filter(|age| *age <= 3)
}
