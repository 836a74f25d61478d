//! Steps of another component, and the operators that no other file here has: against naive models, over random batches, partition
//! counts, batch intervals and restarts.

mod common;

use common::{Batch, Pair, Run, all, check, check_ordered, check_test, fold, last, pairs, runs, sorted};
use millpond::{Job, StreamingContext, Transform, TransformContext, Values};
use millpond_test::JobTest;
use proptest::prelude::*;

/// Drops the rows of `a`, refuses those below -1, and gives each of the others twice: as it is and negative.
fn mirror(ctx: &mut TransformContext) {
    ctx.input::<Pair>()
        .filter(|(key, _)| key != "a")
        .try_flat_map::<Pair>(|(key, n), out| {
            if n < -1 {
                return Err("below -1".into());
            }
            out.push((key, n));
            out.push((key, -n));
            Ok(())
        })
        .output();
}

fn mirrored(rows: &[Pair]) -> Vec<Pair> {
    let kept = rows.iter().filter(|(key, n)| key != "a" && *n >= -1);
    kept.flat_map(|(key, n)| [(key.clone(), *n), (key.clone(), -n)]).collect()
}

/// From one type of row to another.
fn label(ctx: &mut TransformContext) {
    ctx.input::<Pair>().map_owned(|(key, n)| (n > 0, format!("{key}={n}"))).output();
}

/// Runs a job that has the components `mirror` and `label`, and compares each batch, rows in any order.
fn check_with_components<T>(
    run: &Run,
    job: fn(&mut StreamingContext),
    model: impl Fn(&[Batch]) -> Vec<T>,
) -> Result<(), TestCaseError>
where
    T: millpond::Row + std::fmt::Debug + PartialOrd + Clone,
{
    let test = JobTest::new(Job::new(job));
    let test = test.transform("mirror", Transform::new(mirror)).transform("label", Transform::new(label));
    check_test(run, test, |batches| Some(sorted(model(batches))), sorted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_go_through_another_component(run in runs()) {
        // Behind the source and behind a stage, in front of a shuffle, of another component and of a sink.
        check_with_components(&run, |ctx| {
            let mirrored = pairs(ctx).transform_by::<Pair>("mirror");
            mirrored.transform_by::<(bool, String)>("label").sink("out");
        }, |batches| {
            mirrored(last(batches)).into_iter().map(|(key, n)| (n > 0, format!("{key}={n}"))).collect()
        })?;
        check_with_components(&run, |ctx| {
            let larger = pairs(ctx).map_values::<i64>(|n| n + 1).transform_by::<Pair>("mirror").max_by_key();
            larger.transform_by::<(bool, String)>("label").sink("out");
        }, |batches| {
            let larger: Vec<Pair> = last(batches).iter().map(|(key, n)| (key.clone(), n + 1)).collect();
            let largest = fold(mirrored(&larger), i64::max);
            largest.into_iter().map(|(key, n)| (n > 0, format!("{key}={n}"))).collect()
        })?;
    }

    #[test]
    fn another_component_may_stand_between_operators_with_state(run in runs()) {
        check_with_components(&run, |ctx| {
            let total = |values: Values<'_, i64>, total: Option<i64>| Some(total.unwrap_or(0) + values.sum());
            let totals = pairs(ctx).update_state_by_key(total).transform_by::<Pair>("mirror");
            let seen = |values: Values<'_, i64>, seen: Option<i64>| Some(seen.unwrap_or(0) + values.len() as i64);
            totals.update_state_by_key(seen).named("seen").sink("out");
        }, |batches| {
            let outputs = (1..=batches.len()).flat_map(|end| mirrored(&fold(all(&batches[..end]), |a, b| a + b)));
            fold(outputs.map(|(key, _)| (key, 1)), |a, b| a + b)
        })?;
        // One stream to a component and past it.
        check_with_components(&run, |ctx| {
            let rows = pairs(ctx).filter(|(_, n)| n != 0).cache();
            rows.union(&rows.transform_by::<Pair>("mirror")).sink("out");
        }, |batches| {
            let rows: Vec<Pair> = last(batches).iter().filter(|(_, n)| *n != 0).cloned().collect();
            [rows.clone(), mirrored(&rows)].concat()
        })?;
    }

    #[test]
    fn keys_that_may_be_refused(run in runs()) {
        check(&run, |ctx| {
            let sign = |(_, n): (&str, i64)| if n == 0 { Err("zero".into()) } else { Ok(n > 0) };
            pairs(ctx).try_key_by::<bool>(sign).map_values::<i64>(|(_, n)| n).sum_by_key().sink("out");
        }, |batches| {
            let sum = |is_positive: bool| {
                let rows = last(batches).iter().map(|(_, n)| *n).filter(|n| *n != 0 && (*n > 0) == is_positive);
                rows.reduce(|a, b| a + b).map(|sum| (is_positive, sum))
            };
            Some([sum(false), sum(true)].into_iter().flatten().collect())
        })?;
    }

    #[test]
    fn the_first_rows_are_those_of_the_first_partitions(run in runs()) {
        check_ordered(&run, |ctx| pairs(ctx).take(4).sink("out"), |batches| {
            Some(last(batches).iter().take(4).cloned().collect())
        }, |rows| rows)?;
        check_ordered(&run, |ctx| pairs(ctx).filter(|(_, n)| n > 0).take(0).sink("out"), |_| Some(Vec::<Pair>::new()), |rows| rows)?;
        // How many is known of what has no order.
        check(&run, |ctx| pairs(ctx).sum_by_key().take(2).count().sink("out"), |batches| {
            let keys = fold(last(batches).clone(), |a, b| a + b).len();
            Some(vec![keys.min(2) as i64])
        })?;
    }

    #[test]
    fn names_change_no_row(run in runs()) {
        check(&run, |ctx| {
            let more = pairs(ctx).columns(["word", "number"]).map_values::<i64>(|n| n + 1).named("more");
            more.sum_by_key().named("sums").columns(["key", "sum"]).sink("out");
        }, |batches| {
            Some(fold(last(batches).iter().map(|(key, n)| (key.clone(), n + 1)), |a, b| a + b))
        })?;
    }

    #[test]
    fn lines_are_what_the_source_gave(batches in proptest::collection::vec(proptest::collection::vec(".{0,6}", 0..5), 1..5)) {
        let mut job = JobTest::new(Job::new(|ctx| ctx.text("lines").sink("out"))).start();
        for lines in batches {
            job.feed("lines", lines.clone());
            job.batch();
            prop_assert_eq!(job.rows::<String>("out"), lines);
            job.restart();
        }
    }
}

#[test]
fn a_transform_runs_as_a_step() {
    fn shout(ctx: &mut TransformContext) {
        ctx.input::<String>().map_owned(|line| line.to_uppercase()).output();
    }
    fn job(ctx: &mut StreamingContext) {
        ctx.text("lines").transform_by::<String>("shout").sink("out");
    }
    let mut job = JobTest::new(Job::new(job)).transform("shout", Transform::new(shout)).start();
    job.feed("lines", ["hello".to_owned()]);
    job.batch();
    assert_eq!(job.rows::<String>("out"), ["HELLO"]);
}
