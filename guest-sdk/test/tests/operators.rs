//! Operators of the SDK on the real engine, against naive models: random batches, partition counts, batch intervals and restarts.
//! The harness is `common/mod.rs`; other files have the operators of a kind.

mod common;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use common::{Batch, Pair, check, check_ordered, counts, fold, last, pairs, runs};
use millpond::{Job, Row, StreamingContext};
use millpond_core::Report;
use millpond_test::JobTest;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn narrow_operators(run in runs()) {
        check(&run, |ctx| pairs(ctx).map::<(i64, String)>(|(key, n)| (n, key)).sink("out"), |batches| {
            Some(last(batches).iter().map(|(key, n)| (*n, key.clone())).collect())
        })?;
        check(&run, |ctx| pairs(ctx).map_owned(|(key, n)| format!("{key}{n}")).sink("out"), |batches| {
            Some(last(batches).iter().map(|(key, n)| format!("{key}{n}")).collect())
        })?;
        check(&run, |ctx| {
            pairs(ctx).flat_map::<String>(|(key, n), out| (0..n).for_each(|_| out.push(key))).filter(|key| key != "a").sink("out");
        }, |batches| {
            let rows = last(batches).iter().flat_map(|(key, n)| (0..*n).map(move |_| key.clone()));
            Some(rows.filter(|key| key != "a").collect())
        })?;
        // Both ways of split: as the first operator, where a count takes pieces by their places, and behind another one.
        check(&run, |ctx| {
            pairs(ctx).map_owned(|(key, n)| format!(" {key} {n} {key}")).cache().split(' ').count_by_value().sink("out");
        }, |batches| {
            let words = last(batches).iter().flat_map(|(key, n)| [key.clone(), n.to_string(), key.clone()]);
            Some(counts(words.filter(|word| !word.is_empty()).map(|word| (word, 1))))
        })?;
        check(&run, |ctx| {
            pairs(ctx).map_owned(|(key, n)| format!("{key},,{n}")).split(',').sink("out");
        }, |batches| {
            let words = last(batches).iter().flat_map(|(key, n)| [key.clone(), n.to_string()]);
            Some(words.filter(|word| !word.is_empty()).collect())
        })?;
        check(&run, |ctx| {
            pairs(ctx).map::<i64>(|(_, n)| n).key_by::<bool>(|n| n > 0).map_values::<(i64, i64)>(|n| (n, -n)).sink("out");
        }, |batches| {
            Some(last(batches).iter().map(|(_, n)| (*n > 0, (*n, -*n))).collect())
        })?;
    }

    #[test]
    fn rows_that_closures_refuse_go_nowhere(run in runs()) {
        check(&run, |ctx| {
            let parsed = pairs(ctx).try_map::<i64>(|(key, n)| if key == "a" { Err("an a".into()) } else { Ok(n) });
            let doubled = parsed.try_flat_map::<i64>(|n, out| {
                out.push(n);
                if n < 0 {
                    return Err("negative".into());
                }
                out.push(n);
                Ok(())
            });
            doubled.try_filter(|n| if n == 3 { Err("three".into()) } else { Ok(n != 2) }).sink("out");
        }, |batches| {
            let rows = last(batches).iter().filter(|(key, n)| key != "a" && *n >= 0 && *n != 3 && *n != 2);
            Some(rows.flat_map(|(_, n)| [*n, *n]).collect())
        })?;
    }

    #[test]
    fn reductions_by_key(run in runs()) {
        check(&run, |ctx| pairs(ctx).reduce_by_key(|a, b| a * 3 + b * 3).map_values::<i64>(|n| n % 3).sink("out"), |batches| {
            // One row of a key is never merged; merged ones are multiples of three.
            let batch = last(batches);
            let count = |key: &str| batch.iter().filter(|(other, _)| other == key).count();
            Some(fold(batch.clone(), |a, b| a + b).into_iter().map(|(key, sum)| {
                let single = count(&key) == 1;
                (key, if single { sum % 3 } else { 0 })
            }).collect())
        })?;
        check(&run, |ctx| pairs(ctx).sum_by_key().sink("out"), |batches| Some(fold(last(batches).clone(), |a, b| a + b)))?;
        check(&run, |ctx| pairs(ctx).min_by_key().sink("out"), |batches| Some(fold(last(batches).clone(), i64::min)))?;
        check(&run, |ctx| pairs(ctx).max_by_key().sink("out"), |batches| Some(fold(last(batches).clone(), i64::max)))?;
        check(&run, |ctx| pairs(ctx).count_by_key().sink("out"), |batches| Some(counts(last(batches).clone())))?;
        check(&run, |ctx| pairs(ctx).map::<String>(|(key, _)| key).count_by_value().sink("out"), |batches| {
            Some(counts(last(batches).clone()))
        })?;
        check(&run, |ctx| pairs(ctx).mean_by_key().sink("out"), |batches| {
            let batch = last(batches);
            let count = |key: &str| batch.iter().filter(|(other, _)| other == key).count() as f64;
            Some(fold(batch.clone(), |a, b| a + b).into_iter().map(|(key, sum)| (key.clone(), sum as f64 / count(&key))).collect())
        })?;
    }

    #[test]
    fn reductions_without_key(run in runs()) {
        check(&run, |ctx| pairs(ctx).count().sink("out"), |batches| Some(vec![last(batches).len() as i64]))?;
        check(&run, |ctx| pairs(ctx).map::<i64>(|(_, n)| n).reduce(|a, b| a.max(b)).sink("out"), |batches| {
            Some(last(batches).iter().map(|(_, n)| *n).max().into_iter().collect())
        })?;
    }

    #[test]
    fn unions_and_shared_streams(run in runs()) {
        check(&run, |ctx| {
            let cached = pairs(ctx).map::<Pair>(|(key, n)| (key, n + 1)).cache();
            let small = cached.filter(|(_, n)| n < 2);
            cached.union(&small).sum_by_key().sink("out");
        }, |batches| {
            let plus: Vec<Pair> = last(batches).iter().map(|(key, n)| (key.clone(), n + 1)).collect();
            let small: Vec<Pair> = plus.iter().filter(|(_, n)| *n < 2).cloned().collect();
            Some(fold([plus, small].concat(), |a, b| a + b))
        })?;
    }

    #[test]
    fn keyed_state(run in runs()) {
        // Touched keys only; a total of zero deletes the key.
        let running = |batches: &[Batch]| {
            let mut totals: BTreeMap<String, i64> = BTreeMap::new();
            for batch in batches {
                for (key, sum) in fold(batch.clone(), |a, b| a + b) {
                    *totals.entry(key).or_default() += sum;
                }
                totals.retain(|_, total| *total != 0);
            }
            Some(totals.into_iter().collect::<Vec<_>>())
        };
        check(&run, |ctx| {
            let update = |values: millpond::Values<'_, i64>, total: Option<i64>| {
                Some(total.unwrap_or(0) + values.sum()).filter(|total| *total != 0)
            };
            pairs(ctx).update_state_by_key(update).sink("out");
        }, running)?;
        // Every key in every batch: counts the batches since the key was first seen, and lets go of it after three.
        check(&run, |ctx| {
            let age = |_: millpond::Values<'_, i64>, age: Option<i64>| Some(age.unwrap_or(0) + 1).filter(|age| *age <= 3);
            pairs(ctx).update_state_by_key(age).every_batch().sink("out");
        }, |batches| {
            let mut ages: BTreeMap<String, i64> = BTreeMap::new();
            for batch in batches {
                let keys: BTreeSet<String> = ages.keys().cloned().chain(batch.iter().map(|(key, _)| key.clone())).collect();
                keys.into_iter().for_each(|key| *ages.entry(key).or_default() += 1);
                ages.retain(|_, age| *age <= 3);
            }
            Some(ages.into_iter().collect())
        })?;
    }

    #[test]
    fn order(run in runs()) {
        let by_value = |batches: &[Batch]| {
            let mut rows = last(batches).clone();
            rows.sort_by_key(|(key, n)| (Reverse(*n), key.clone()));
            rows
        };
        check_ordered(&run, |ctx| pairs(ctx).sort_by(|(_, n)| Reverse(n)).sink("out"), |batches| Some(by_value(batches)), |rows| rows)?;
        check_ordered(&run, |ctx| pairs(ctx).top_by(3, |(_, n)| Reverse(n)).sink("out"), |batches| {
            Some(by_value(batches).into_iter().take(3).collect())
        }, |rows| rows)?;
        check_ordered(&run, |ctx| pairs(ctx).top_by_computed::<i64>(3, |(_, n)| n.abs()).sink("out"), |batches| {
            let mut rows = last(batches).clone();
            rows.sort_by_key(|(key, n)| (n.abs(), key.clone(), *n));
            Some(rows.into_iter().take(3).collect())
        }, |rows| rows)?;
        check_ordered(&run, |ctx| pairs(ctx).sort_by_computed::<i64>(|(_, n)| n * n).take(2).sink("out"), |batches| {
            let mut rows = last(batches).clone();
            rows.sort_by_key(|(key, n)| (n * n, key.clone(), *n));
            Some(rows.into_iter().take(2).collect())
        }, |rows| rows)?;
    }
}

#[test]
fn refused_rows_are_reported_with_their_place_and_reason() {
    fn job(ctx: &mut StreamingContext) {
        ctx.text("lines").try_map::<i64>(|line| Ok(line.parse::<i64>()?)).sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("lines", ["7".to_owned(), "seven".to_owned(), "8".to_owned()]);
    let report = job.batch();
    assert_eq!((report.rejected, job.rows::<i64>("out")), (1, vec![7, 8]));
    let rejected = job.rejected();
    let Report::Rejected { place, reason, .. } = &rejected[0] else { panic!("{rejected:?}") };
    assert!(place.starts_with("decoded row 1 (from 0)") && reason.contains("invalid digit"), "{place}: {reason}");
}

#[test]
fn rows_of_a_derived_type_pass_through() {
    #[derive(Row, Clone, Debug, PartialEq, PartialOrd)]
    struct Reading {
        sensor: String,
        at: millpond::Timestamp,
        value: Option<f64>,
        ok: bool,
        raw: Vec<u8>,
    }
    fn job(ctx: &mut StreamingContext) {
        ctx.source::<Reading>("readings").filter(|reading| reading.ok).sink("out");
    }
    let reading = |sensor: &str, value, ok| Reading {
        sensor: sensor.to_owned(),
        at: millpond::Timestamp(1_700_000_000_000_000),
        value,
        ok,
        raw: vec![0, 255],
    };
    let rows = vec![reading("a", Some(1.5), true), reading("ü", None, true), reading("b", Some(f64::MAX), false)];
    let mut job = JobTest::new(Job::new(job)).start();
    job.feed("readings", rows.clone());
    job.batch();
    assert_eq!(job.rows::<Reading>("out"), rows[..2]);
}

#[test]
fn a_second_stateful_node_must_be_named() {
    fn twice(ctx: &mut StreamingContext) {
        let count = |values: millpond::Values<'_, i64>, total: Option<i64>| Some(total.unwrap_or(0) + values.sum());
        pairs(ctx).update_state_by_key(count).update_state_by_key(count).sink("out");
    }
    fn named(ctx: &mut StreamingContext) {
        let count = |values: millpond::Values<'_, i64>, total: Option<i64>| Some(total.unwrap_or(0) + values.sum());
        pairs(ctx).update_state_by_key(count).named("first").update_state_by_key(count).named("second").sink("out");
    }
    let refused = JobTest::new(Job::new(twice)).plan().expect_err("two nodes of one name");
    assert!(refused.contains("update_state_by_key") && refused.contains(".named("), "{refused}");
    assert!(JobTest::new(Job::new(named)).plan().is_ok());
}
