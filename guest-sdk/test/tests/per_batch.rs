//! Operators on partitions and whole batches, and merges into accumulators, against naive models.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Batch, Pair, Run, all, check, check_ordered, halves, last, pairs, runs, seconds};
use millpond::{Job, StreamingContext, Timestamp, batch_time};
use millpond_core::Report;
use millpond_test::{JobTest, START_MS};
use proptest::prelude::*;

fn sum(rows: &[Pair]) -> i64 {
    rows.iter().map(|(_, n)| n).sum()
}

/// What a batch's partitions give, those that have rows.
fn by_partition<T>(batch: &Batch, give: impl Fn(usize, &[Pair]) -> T) -> Vec<T> {
    let (left, right) = halves(batch);
    [left, right]
        .into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(at, rows)| give(at, rows))
        .collect()
}

fn large(rows: &[Pair]) -> Vec<Pair> {
    rows.iter().filter(|(_, n)| *n > 1).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn partitions_one_by_one(run in runs()) {
        check(&run, |ctx| {
            pairs(ctx).map_partitions::<(i64, i64)>(|rows, out| {
                out.push((rows.len() as i64, rows.iter().map(|(_, n)| n).sum()));
            }).sink("out");
        }, |batches| Some(by_partition(last(batches), |_, rows| (rows.len() as i64, sum(rows)))))?;
        // Behind another operator: a partition whose rows it drops is as if it had never had any.
        check(&run, |ctx| {
            pairs(ctx).filter(|(_, n)| n > 1).map_partitions_with_index::<(i64, Pair)>(|partition, rows, out| {
                for row in rows.iter().rev() {
                    out.push((partition.into(), row));
                }
                assert!(!rows.is_empty());
            }).sink("out");
        }, |batches| {
            let numbered = |at, rows: &[Pair]| large(rows).into_iter().map(|row| (at as i64, row)).collect::<Vec<_>>();
            Some(by_partition(last(batches), numbered).concat())
        })?;
        // A step that may refuse rows knows them by their place in what the partition gave.
        check(&run, |ctx| {
            pairs(ctx)
                .map_partitions::<Pair>(|rows, out| rows.iter().for_each(|row| out.push(row)))
                .try_map_values::<i64>(|n| if n < 0 { Err("negative".into()) } else { Ok(n) })
                .sink("out");
        }, |batches| Some(last(batches).iter().filter(|(_, n)| *n >= 0).cloned().collect()))?;
    }

    #[test]
    fn partitions_as_lists(run in runs()) {
        check_ordered(&run, |ctx| pairs(ctx).glom().sink("out"), |batches| {
            Some(by_partition(last(batches), |_, rows| rows.to_vec()))
        }, |rows| rows)?;
        // Whole batches as lists, and lists through a call for whole batches.
        check_ordered(&run, |ctx| {
            pairs(ctx)
                .transform::<Vec<Pair>>(|rows, out| out.push(rows.as_list()))
                .repartition(2)
                .transform_with::<_, (i64, Vec<Pair>)>(&pairs(ctx).keys(), |lists, keys, out| {
                    lists.iter().for_each(|list| out.push((keys.len() as i64, list)));
                })
                .sink("out");
        }, |batches| Some(vec![(last(batches).len() as i64, last(batches).clone())]), |rows| rows)?;
    }

    #[test]
    fn pairs_and_their_parts(run in runs()) {
        check(&run, |ctx| {
            pairs(ctx).flat_map_values::<(i64, String)>(|n, out| {
                (0..n).for_each(|i| out.push((i, &format!("{i} of {n}"))));
            }).sink("out");
        }, |batches| {
            let values = |(key, n): &Pair| {
                (0..*n).map(|i| (key.clone(), (i, format!("{i} of {n}")))).collect::<Vec<_>>()
            };
            Some(last(batches).iter().flat_map(values).collect())
        })?;
        check(&run, |ctx| pairs(ctx).keys().sink("out"), |batches| {
            Some(last(batches).iter().map(|(key, _)| key.clone()).collect())
        })?;
        check(&run, |ctx| pairs(ctx).values().sink("out"), |batches| {
            Some(last(batches).iter().map(|(_, n)| *n).collect())
        })?;
    }

    #[test]
    fn accumulators_by_key(run in runs()) {
        // Smallest, how many, and all values as a set of bits: nothing of it is a value.
        let model = |batches: &[Batch]| {
            let mut by_key: BTreeMap<String, (i64, (i64, i64))> = BTreeMap::new();
            for (key, n) in last(batches) {
                let (least, (count, bits)) = by_key.entry(key.clone()).or_insert((i64::MAX, (0, 0)));
                *least = (*least).min(*n);
                *count += 1;
                *bits |= 1 << (n + 3);
            }
            Some(by_key.into_iter().collect::<Vec<_>>())
        };
        check(&run, |ctx| {
            pairs(ctx).combine_by_key::<(i64, (i64, i64))>(
                |n| (n, (1, 1 << (n + 3))),
                |(least, (count, bits)), n| (least.min(n), (count + 1, bits | 1 << (n + 3))),
                |(least, (count, bits)), other| (least.min(other.0), (count + other.1.0, bits | other.1.1)),
            ).sink("out");
        }, model)?;
        check(&run, |ctx| {
            pairs(ctx).aggregate_by_key(
                (i64::MAX, (0, 0)),
                |(least, (count, bits)), n| (least.min(n), (count + 1, bits | 1 << (n + 3))),
                |(least, (count, bits)), other: (i64, (i64, i64))| {
                    (least.min(other.0), (count + other.1.0, bits | other.1.1))
                },
            ).sink("out");
        }, model)?;
        // An accumulator of text: the longest key's letters; and fold, whose accumulator is a value.
        check(&run, |ctx| {
            pairs(ctx).map::<(i64, String)>(|(key, n)| (n, key)).aggregate_by_key(
                (String::new(), 0),
                |(largest, rows): (String, i64), key| (largest.max(key.to_owned()), rows + 1),
                |(largest, rows), other| (largest.max(other.0.to_owned()), rows + other.1),
            ).sink("out");
        }, |batches| {
            let mut by_key: BTreeMap<i64, (String, i64)> = BTreeMap::new();
            for (key, n) in last(batches) {
                let (largest, rows) = by_key.entry(*n).or_default();
                *largest = largest.clone().max(key.clone());
                *rows += 1;
            }
            Some(by_key.into_iter().collect())
        })?;
        check(&run, |ctx| pairs(ctx).fold_by_key(0, |a, b| a + b).sink("out"), |batches| {
            Some(common::fold(last(batches).clone(), |a, b| a + b))
        })?;
    }

    #[test]
    fn distinct_rows(run in runs()) {
        check(&run, |ctx| pairs(ctx).distinct().sink("out"), |batches| {
            Some(last(batches).iter().cloned().collect::<BTreeSet<_>>().into_iter().collect())
        })?;
        check(&run, |ctx| pairs(ctx).keys().distinct().count().sink("out"), |batches| {
            Some(vec![last(batches).iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() as i64])
        })?;
        // What follows has a key of its own again.
        check(&run, |ctx| pairs(ctx).distinct().sum_by_key().sink("out"), |batches| {
            let distinct: BTreeSet<Pair> = last(batches).iter().cloned().collect();
            Some(common::fold(distinct, |a, b| a + b))
        })?;
    }

    #[test]
    fn partitions_of_other_sizes(run in runs()) {
        let cut = |batch: &Batch, count: usize| -> Vec<Vec<Pair>> {
            let bound = |partition: usize| batch.len() * partition / count;
            (0..count).map(|partition| batch[bound(partition)..bound(partition + 1)].to_vec()).collect()
        };
        check_ordered(&run, |ctx| pairs(ctx).repartition(3).sink("out"), |batches| Some(last(batches).clone()), |rows| rows)?;
        check_ordered(&run, |ctx| {
            pairs(ctx).repartition(5).map_partitions::<i64>(|rows, out| out.push(rows.len() as i64)).sink("out");
        }, |batches| {
            let sizes = cut(last(batches), 5).into_iter().map(|rows| rows.len() as i64);
            Some(sizes.filter(|size| *size > 0).collect())
        }, |rows| rows)?;
        check_ordered(&run, |ctx| {
            pairs(ctx).sum_by_key().repartition(1).map_partitions::<i64>(|rows, out| out.push(rows.len() as i64)).sink("out");
        }, |batches| {
            let keys = last(batches).iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() as i64;
            Some(if keys == 0 { vec![] } else { vec![keys] })
        }, |rows| rows)?;
        // Rows that no longer lie where their keys belong are shuffled again.
        check(&run, |ctx| {
            pairs(ctx).sum_by_key().repartition(2).reduce_by_key(|a, b| a.max(b)).sink("out");
        }, |batches| Some(common::fold(last(batches).clone(), |a, b| a + b)))?;
    }

    #[test]
    fn batches_as_a_whole(run in runs()) {
        let time = |run: &Run, batches: &[Batch]| {
            let interval = run.interval_ms as i64;
            Timestamp::from_millis((START_MS / interval + batches.len() as i64) * interval)
        };
        // Rows come in the order of the source's partitions; a call comes for batches without rows, too.
        check_ordered(&run, |ctx| {
            pairs(ctx).transform::<(Timestamp, (i64, Pair))>(|rows, out| {
                let size = rows.len() as i64;
                out.push((batch_time(), (size, ("", 0))));
                rows.iter().rev().for_each(|row| out.push((batch_time(), (size, row))));
            }).sink("out");
        }, |batches| {
            let (time, batch) = (time(&run, batches), last(batches));
            let first = std::iter::once((String::new(), 0));
            let rows = first.chain(batch.iter().rev().cloned());
            Some(rows.map(|row| (time, (batch.len() as i64, row))).collect())
        }, |rows| rows)?;
        check_ordered(&run, |ctx| {
            pairs(ctx).filter(|(_, n)| n > 1).foreach_batch::<(Timestamp, i64)>("out", |rows, out| {
                out.push((batch_time(), rows.iter().map(|(_, n)| n).sum()));
            });
        }, |batches| Some(vec![(time(&run, batches), sum(&large(last(batches))))]), |rows| rows)?;
        // Behind keyed state: every key, in one call.
        check(&run, |ctx| {
            pairs(ctx)
                .update_state_by_key(|values, total: Option<i64>| Some(total.unwrap_or(0) + values.sum()))
                .transform::<(String, f64)>(|rows, out| {
                    let all = rows.iter().map(|(_, n)| n.abs()).sum::<i64>().max(1);
                    rows.iter().for_each(|(key, n)| out.push((key, n as f64 / all as f64)));
                }).sink("out");
        }, |batches| {
            let totals = common::fold(all(batches), |a, b| a + b);
            let sum = totals.iter().map(|(_, n)| n.abs()).sum::<i64>().max(1);
            Some(totals.into_iter().map(|(key, n)| (key, n as f64 / sum as f64)).collect())
        })?;
    }

    #[test]
    fn batches_of_two_streams_as_a_whole(run in runs()) {
        // All pairs of a row of one and a row of the other that differ in sign; and how many each has.
        check_ordered(&run, |ctx| {
            let all = pairs(ctx);
            let (positive, negative) = (all.filter(|(_, n)| n > 0), all.map::<i64>(|(_, n)| n).filter(|n| n < 0));
            positive.transform_with::<_, (Pair, i64)>(&negative, |left, right, out| {
                out.push((("", left.len() as i64), right.len() as i64));
                for row in left {
                    right.iter().for_each(|n| out.push((row, n)));
                }
            }).sink("out");
        }, |batches| {
            let (positive, negative): (Vec<&Pair>, Vec<&Pair>) =
                last(batches).iter().filter(|(_, n)| *n != 0).partition(|(_, n)| *n > 0);
            let mut rows = vec![((String::new(), positive.len() as i64), negative.len() as i64)];
            rows.extend(positive.iter().flat_map(|row| negative.iter().map(|other| ((*row).clone(), other.1))));
            Some(rows)
        }, |rows| rows)?;
        // The same stream on both sides, and one that a shuffle has spread.
        check(&run, |ctx| {
            let sums = pairs(ctx).sum_by_key();
            sums.transform_with::<_, Pair>(&sums, |left, right, out| {
                left.iter().zip(right.iter()).for_each(|((key, n), (_, same))| out.push((key, n + same)));
            }).sink("out");
        }, |batches| Some(common::fold(last(batches).clone(), |a, b| a + b).into_iter().map(|(key, n)| (key, 2 * n)).collect()))?;
    }

    #[test]
    fn unions_of_several(run in runs()) {
        check_ordered(&run, |ctx| {
            let rows = pairs(ctx);
            let tens = rows.map_values::<i64>(|n| n * 10).columns(["other", "names"]);
            ctx.union(&[rows.clone(), tens, rows.filter(|(_, n)| n > 1)]).sink("out");
        }, |batches| {
            let batch = last(batches);
            let tens = batch.iter().map(|(key, n)| (key.clone(), n * 10));
            Some(batch.iter().cloned().chain(tens).chain(large(batch)).collect())
        }, |rows| rows)?;
        check(&run, |ctx| ctx.union(&[pairs(ctx)]).sink("out"), |batches| Some(last(batches).clone()))?;
    }
}

fn refused(job: fn(&mut StreamingContext)) -> String {
    JobTest::new(Job::new(job)).plan().expect_err("the plan is wrong")
}

#[test]
fn a_skewed_input_spreads() {
    fn job(ctx: &mut StreamingContext) {
        pairs(ctx).repartition(8).map_partitions::<i64>(|rows, out| out.push(rows.len() as i64)).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    let rows = |count: i64| (0..count).map(|n| ("a".to_owned(), n)).collect::<Vec<Pair>>();
    job.feed("in", rows(1));
    job.feed("in", rows(9_999));
    job.feed("in", rows(0));
    job.feed("in", rows(7));
    job.batch();
    let sizes = job.rows::<i64>("out");
    assert_eq!((sizes.len(), sizes.iter().sum::<i64>()), (8, 10_007));
    assert!(sizes.iter().all(|size| [1250, 1251].contains(size)), "{sizes:?}");
}

#[test]
fn numbers_of_partitions_that_cannot_be_are_refused() {
    let none = refused(|ctx| pairs(ctx).repartition(0).sink("out"));
    assert_eq!(none, "repartition(0): give it a number from 1 to 1024");
    let many = refused(|ctx| pairs(ctx).repartition(1025).sink("out"));
    assert_eq!(many, "repartition(1025): give it a number from 1 to 1024");
}

#[test]
fn streams_that_give_batches_at_different_times_do_not_go_together() {
    let refused = refused(|ctx| {
        let (all, window) = (pairs(ctx), pairs(ctx).window(seconds(4), seconds(2)));
        all.transform_with::<_, Pair>(&window, |left, _, out| left.iter().for_each(|row| out.push(row))).sink("out");
    });
    assert!(refused.contains("`transform_with-2`"), "{refused}");
    assert!(refused.contains("gives rows every 1000 ms and `window` every 2000 ms"), "{refused}");
    assert!(refused.contains("use the same slide"), "{refused}");
}

#[test]
fn names_that_clash_are_refused() {
    let nodes = refused(|ctx| {
        let same = |rows: millpond::Rows<'_, Pair>, out: &mut millpond::Emit<'_, Pair>| {
            rows.iter().for_each(|row| out.push(row));
        };
        pairs(ctx).transform(same).named("whole").transform(same).named("whole").sink("out");
    });
    assert!(nodes.contains("two nodes are called `whole`"), "{nodes}");
    let sinks = refused(|ctx| {
        pairs(ctx).foreach_batch::<i64>("out", |rows, out| out.push(rows.len() as i64));
        pairs(ctx).sink("out");
    });
    assert!(sinks.contains("two streams go to the sink `out`"), "{sinks}");
}

#[test]
fn a_union_of_nothing_is_refused() {
    let nothing = refused(|ctx| ctx.union::<Pair>(&[]).sink("out"));
    assert_eq!(nothing, "union(&[]) has no stream to take rows from: give it at least one");
}

#[test]
fn rows_that_are_refused_behind_map_partitions_keep_their_places() {
    fn job(ctx: &mut StreamingContext) {
        let twice = |lines: millpond::Rows<'_, String>, out: &mut millpond::Emit<'_, String>| {
            lines.iter().chain(lines.iter()).for_each(|line| out.push(line));
        };
        ctx.text("lines").map_partitions(twice).try_map::<i64>(|line| Ok(line.parse()?)).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("lines", ["7".to_owned(), "seven".to_owned()]);
    let report = job.batch();
    assert_eq!((report.rejected, job.rows::<i64>("out")), (2, vec![7, 7]));
    let places: Vec<String> = job
        .rejected()
        .into_iter()
        .map(|report| match report {
            Report::Rejected { place, .. } => place,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(places, ["row 1 (from 0) of partition 0", "row 3 (from 0) of partition 0"]);
}
