//! Calls: what a job computes, and what it refuses.

use super::*;
use crate::row::{self, Row};
use crate::{StreamingContext, Timestamp, TransformContext, batch_time};

const TASK: TaskInfo = TaskInfo { batch_time_ms: 1000, partition: 0, partitions: 1, attempt: 0 };

fn batch<T: Row>(rows: &[T]) -> Batch {
    let mut columns = T::Columns::default();
    rows.iter().for_each(|row| T::push(&mut columns, row.to_ref()));
    row::write_batch::<T>(rows.len(), columns).expect("fits")
}

fn rows<T: Row>(batch: Batch) -> Vec<T> {
    let (rows, columns) = row::read_batch::<T>(batch, &row::fields::<T>("")).expect("well formed");
    (0..rows).map(|row| T::from_ref(T::get(&columns, row))).collect()
}

fn lines(lines: &[&str]) -> Batch {
    batch::<String>(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
}

fn job(define: fn(&mut StreamingContext)) -> Job {
    let job = Job::new(define);
    job.plan(&[]).expect("a plan");
    job
}

fn word_count() -> Job {
    job(|ctx| {
        ctx.text("lines")
            .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word)))
            .count_by_value()
            .update_state_by_key(|counts, total: Option<i64>| {
                Some(total.unwrap_or(0) + counts.sum()).filter(|n| *n > 0)
            })
            .sink("out");
    })
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(word, n)| ((*word).to_owned(), *n)).collect()
}

fn refused(result: Result<StageOutput, Failure>, code: FailureCode) -> String {
    let failure = result.expect_err("refused");
    assert_eq!(failure.code, code);
    failure.message
}

#[test]
fn a_stage_counts_words_in_order_of_first_sight() {
    let output = word_count().run_stage(1, &TASK, lines(&["b a", "b", "b c"])).expect("counted");
    assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("b", 3), ("a", 1), ("c", 1)]));
    assert!(output.rejected.is_empty());
}

#[test]
fn an_empty_batch_gives_an_empty_batch() {
    let output = word_count().run_stage(1, &TASK, lines(&[])).expect("nothing");
    assert_eq!((output.batch.rows, output.batch.columns.len()), (0, 2));
}

#[test]
fn a_whole_batch_call_has_a_batch_for_each_input() {
    let job = job(|ctx| {
        let words = ctx.text("words");
        ctx.source::<i64>("numbers")
            .transform_with::<_, (i64, String)>(&words, |numbers, words, out| {
                numbers.iter().zip(words).for_each(|pair| out.push(pair));
                out.push((batch_time().0, ""));
            })
            .sink("out");
    });
    let output = job.run_batch(2, &TASK, vec![batch(&[1i64, 2]), lines(&["a", "b", "c"])]).expect("both");
    let expected = [(1, "a"), (2, "b"), (1_000_000, "")].map(|(n, word)| (n, word.to_owned()));
    assert_eq!(rows::<(i64, String)>(output), expected);
    let refused = |node, inputs| {
        let failure = job.run_batch(node, &TASK, inputs).expect_err("refused");
        (failure.code, failure.message)
    };
    assert_eq!(refused(2, vec![batch(&[1i64])]), (FailureCode::BadInput, "1 batches for 2 inputs".to_owned()));
    let swapped = refused(2, vec![lines(&["a"]), batch(&[1i64])]);
    assert_eq!(swapped, (FailureCode::BadInput, "column `value`: expected int64, found utf8".to_owned()));
    let source = refused(0, vec![]);
    assert_eq!(source.1, "node `source words` has nothing to do for a run-batch call");
}

#[test]
fn calls_for_the_wrong_node_are_refused() {
    let job = word_count();
    assert_eq!(
        refused(job.run_stage(9, &TASK, lines(&[])), FailureCode::UnknownNode),
        "there is no node 9: the plan has 5 nodes"
    );
    assert_eq!(
        refused(job.run_stage(2, &TASK, lines(&[])), FailureCode::UnknownNode),
        "node `reduce-2` has nothing to do for a run-stage call"
    );
    let merge = job.merge(1, &TASK, &[0], batch::<i64>(&[])).expect_err("a stage merges nothing");
    assert_eq!(merge.code, FailureCode::UnknownNode);
}

#[test]
fn input_of_another_schema_is_refused_with_its_column() {
    let message = refused(word_count().run_stage(1, &TASK, batch::<i64>(&[1])), FailureCode::BadInput);
    assert_eq!(message, "column `line`: expected utf8, found int64");
}

#[test]
fn a_call_before_plan_is_refused() {
    let job = Job::new(|ctx| ctx.text("lines").count().sink("out"));
    assert!(refused(job.run_stage(1, &TASK, lines(&[])), FailureCode::Internal).starts_with("a call came before plan"));
}

fn update_input(groups: Vec<u32>) -> UpdateInput {
    UpdateInput {
        keys: lines(&["a", "b", "c"]),
        groups,
        values: batch::<i64>(&[1, 2, -5]),
        states: batch::<i64>(&[10, 99, 5]),
        present: vec![0b101],
    }
}

#[test]
fn update_adds_to_states_and_deletes_with_none() {
    let output = word_count().update(3, &TASK, update_input(vec![0, 2, 2, 3])).expect("updated");
    // a: 10 + 1 + 2; b: no state, no values, so it stays away; c: 5 - 5 = 0, so it is deleted.
    assert_eq!(output.keep, [0b001]);
    assert_eq!(rows::<i64>(output.states)[0], 13);
}

#[test]
fn malformed_groups_are_refused() {
    for groups in [vec![], vec![0, 2, 3], vec![0, 2, 1, 3], vec![0, 1, 2, 2], vec![1, 2, 2, 3]] {
        let failure = word_count().update(3, &TASK, update_input(groups.clone())).expect_err("malformed");
        assert_eq!(failure.code, FailureCode::BadInput, "{groups:?}");
    }
    let short = UpdateInput { present: vec![], ..update_input(vec![0, 2, 2, 3]) };
    let failure = word_count().update(3, &TASK, short).expect_err("no bits");
    assert_eq!(failure.message, "`present` does not have one bit for each of 3 keys");
}

#[test]
fn sums_that_overflow_in_a_stage_are_left_to_the_host() {
    let sums = job(|ctx| ctx.source::<(String, i64)>("pairs").sum_by_key().sink("out"));
    for order in [[i64::MAX, 1, -5], [1, i64::MAX, -5], [i64::MAX, -5, 1]] {
        let output = sums.run_stage(1, &TASK, batch(&order.map(|n| ("a".to_owned(), n)))).expect("partial sums");
        let total: i128 = rows::<(String, i64)>(output.batch).iter().map(|(_, n)| i128::from(*n)).sum();
        assert_eq!(total, i128::from(i64::MAX) - 4);
    }
}

#[test]
fn sums_that_overflow_in_an_update_fail_the_call() {
    let input = UpdateInput { values: batch::<i64>(&[i64::MAX, 1, 0]), ..update_input(vec![0, 2, 2, 3]) };
    let failure = word_count().update(3, &TASK, input).expect_err("too large");
    assert_eq!(failure.code, FailureCode::User);
}

#[test]
fn custom_merges_fold_each_group_and_inverses_take_off() {
    let job = job(|ctx| {
        let second = std::time::Duration::from_secs(1);
        ctx.source::<(String, i64)>("pairs")
            .reduce_by_key_and_window_with_inverse(|a, b| a + b, |a, b| a - b, second, second)
            .sink("out");
    });
    let merged = job.merge(2, &TASK, &[0, 1, 3], batch::<i64>(&[5, 1, 2])).expect("merged");
    assert_eq!(rows::<i64>(merged), [5, 3]);
    let left = job.subtract(2, &TASK, batch::<i64>(&[5, 3]), batch::<i64>(&[5, 1])).expect("taken off");
    assert_eq!(rows::<i64>(left), [0, 2]);
    let empty_group = job.merge(2, &TASK, &[0, 0, 3], batch::<i64>(&[5, 1, 2])).expect_err("malformed");
    assert_eq!(empty_group.code, FailureCode::BadInput);
    let uneven = job.subtract(2, &TASK, batch::<i64>(&[5]), batch::<i64>(&[])).expect_err("uneven");
    assert!(uneven.message.ends_with("1 totals, but 0 rows that leave"), "{}", uneven.message);
    assert_eq!(job.merge(2, &TASK, &[0], batch::<i64>(&[])).expect("nothing").rows, 0);
}

#[test]
fn refused_rows_are_reported_once_with_their_place() {
    let job = job(|ctx| {
        ctx.text("lines")
            .flat_map::<String>(|line, out| line.split(',').for_each(|part| out.push(part)))
            .try_map::<i64>(|part| Ok(part.parse()?))
            .try_filter(|n| if n == 13 { Err("unlucky".into()) } else { Ok(n > 1) })
            .sink("out");
    });
    let output = job.run_stage(1, &TASK, lines(&["1,2", "x,3,y", "", "13", "4"])).expect("run");
    assert_eq!(rows::<i64>(output.batch), [2, 3, 4]);
    let rejected: Vec<_> = output.rejected.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (1, "invalid digit found in string; invalid digit found in string"),
            (2, "cannot parse integer from empty string"),
            (3, "unlucky"),
        ]
    );
}

#[test]
fn a_refused_flat_map_puts_nothing_out() {
    let job = job(|ctx| {
        ctx.text("lines")
            .try_flat_map::<(String, i64)>(|line, out| {
                for part in line.split(',') {
                    out.push((line, part.parse()?));
                }
                Ok(())
            })
            .sink("out");
    });
    let output = job.run_stage(1, &TASK, lines(&["1,2", "3,x"])).expect("run");
    assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("1,2", 1), ("1,2", 2)]));
    assert_eq!(output.rejected.len(), 1);
}

#[test]
fn keys_and_values_can_be_refused_too() {
    let job = job(|ctx| {
        ctx.text("lines")
            .try_key_by::<String>(|line| Ok(line.split(',').next().filter(|key| !key.is_empty()).ok_or("no key")?))
            .try_map_values::<i64>(|line| Ok(line.split(',').nth(1).ok_or("no value")?.parse()?))
            .sink("out");
    });
    let output = job.run_stage(1, &TASK, lines(&["a,1", ",2", "b", "c,x", "d,4"])).expect("run");
    assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("a", 1), ("d", 4)]));
    let rejected: Vec<_> = output.rejected.iter().map(|row| (row.row, row.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "no key"), (2, "no value"), (3, "invalid digit found in string")]);
}

#[test]
fn narrow_operators_compute_what_they_say() {
    let job = job(|ctx| {
        ctx.text("lines")
            .filter(|line| !line.is_empty())
            .map_owned(|line| line.to_uppercase())
            .key_by::<i64>(|line| line.len() as i64)
            .map_values::<String>(|line| &line[1..])
            .map::<(String, i64)>(|(length, rest)| (rest, length * 10))
            .sink("out");
    });
    let output = job.run_stage(1, &TASK, lines(&["ab", "", "xyz"])).expect("run");
    assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("B", 20), ("YZ", 30)]));
}

#[test]
fn means_are_finished_after_the_reduce() {
    let job = job(|ctx| ctx.source::<(String, i64)>("pairs").mean_by_key().sink("out"));
    let sums = job.run_stage(1, &TASK, batch(&pairs(&[("a", 1), ("b", 5), ("a", 2)]))).expect("summed");
    assert_eq!(rows::<(String, (i64, i64))>(sums.batch.clone()), [("a".to_owned(), (3, 2)), ("b".to_owned(), (5, 1))]);
    let means = job.run_stage(3, &TASK, sums.batch).expect("divided");
    assert_eq!(rows::<(String, f64)>(means.batch), [("a".to_owned(), 1.5), ("b".to_owned(), 5.0)]);
}

#[test]
fn a_stage_before_top_by_keeps_the_first_and_their_ties() {
    let job = job(|ctx| {
        ctx.source::<(String, i64)>("pairs").filter(|_| true).top_by(2, |(_, n)| std::cmp::Reverse(n)).sink("out");
    });
    let output =
        job.run_stage(1, &TASK, batch(&pairs(&[("a", 1), ("b", 3), ("c", 2), ("d", 2), ("e", 1)]))).expect("run");
    assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("b", 3), ("c", 2), ("d", 2)]));
}

#[test]
fn a_rename_passes_columns_through_and_still_checks_them() {
    let job = job(|ctx| ctx.text("lines").columns(["text"]).sink("out"));
    assert_eq!(rows::<String>(job.run_stage(1, &TASK, lines(&["a", "b"])).expect("same").batch), ["a", "b"]);
    refused(job.run_stage(1, &TASK, batch::<i64>(&[1])), FailureCode::BadInput);
}

#[test]
fn settings_decide_the_plan() {
    let job = Job::new(|ctx| {
        let least: i64 = ctx.param_or("least", 2);
        ctx.source::<i64>("numbers").filter(move |n| n >= least).sink("out");
    });
    for (setting, expected) in [(None, vec![2, 3]), (Some("3"), vec![3])] {
        let params: Vec<Param> =
            setting.map(|value| Param { name: "least".to_owned(), value: value.to_owned() }).into_iter().collect();
        job.plan(&params).expect("a plan");
        assert_eq!(rows::<i64>(job.run_stage(1, &TASK, batch::<i64>(&[1, 2, 3])).expect("run").batch), expected);
    }
}

#[test]
fn every_call_knows_its_batchs_time() {
    let task = TaskInfo { batch_time_ms: 5, ..TASK };
    let stamp = Timestamp(5000);
    let job = job(|ctx| {
        let second = std::time::Duration::from_secs(1);
        ctx.source::<(String, Timestamp)>("pairs")
            .map_values::<Timestamp>(|_| batch_time())
            .reduce_by_key_and_window_with_inverse(|_, _| batch_time(), |_, _| batch_time(), second, second)
            .update_state_by_key(|_, _: Option<Timestamp>| Some(batch_time()))
            .sink("out");
    });
    let zero = || batch(&[Timestamp(0), Timestamp(0)]);
    let pairs = batch(&[("a".to_owned(), Timestamp(0))]);
    let stage = job.run_stage(1, &task, pairs).expect("run");
    assert_eq!(rows::<(String, Timestamp)>(stage.batch), [("a".to_owned(), stamp)]);
    assert_eq!(rows::<Timestamp>(job.merge(2, &task, &[0, 2], zero()).expect("merged")), [stamp]);
    assert_eq!(rows::<Timestamp>(job.subtract(2, &task, zero(), zero()).expect("subtracted")), [stamp, stamp]);
    let input = UpdateInput {
        keys: lines(&["a"]),
        groups: vec![0, 0],
        values: batch::<Timestamp>(&[]),
        states: batch(&[Timestamp(0)]),
        present: vec![0],
    };
    assert_eq!(rows::<Timestamp>(job.update(3, &task, input).expect("updated").states), [stamp]);
    let transform = Transform::new(|ctx| ctx.input::<i64>().map::<Timestamp>(|_| batch_time()).output());
    transform.describe(&[]).expect("described");
    assert_eq!(rows::<Timestamp>(transform.run(&task, batch(&[1i64])).expect("run").batch), [stamp]);
}

#[test]
fn calls_may_come_from_several_threads() {
    let job = word_count();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let output = job.run_stage(1, &TASK, lines(&["a b a"])).expect("counted");
                assert_eq!(rows::<(String, i64)>(output.batch), pairs(&[("a", 2), ("b", 1)]));
            });
        }
    });
}

fn transform_error(define: fn(&mut TransformContext)) -> String {
    Transform::new(define).describe(&[]).expect_err("refused")
}

#[test]
fn a_transform_is_one_stage() {
    let transform = Transform::new(|ctx| {
        let suffix: String = ctx.param_or("suffix", "!".to_owned());
        ctx.input::<String>().map_owned(move |text| format!("{text}{suffix}")).columns(["text"]).output();
    });
    let signature = transform.describe(&[]).expect("described");
    assert_eq!((signature.input[0].name.as_str(), signature.output[0].name.as_str()), ("value", "text"));
    let output = transform.run(&TASK, lines(&["a", "b"])).expect("run");
    assert_eq!(rows::<String>(output.batch), ["a!", "b!"]);
}

#[test]
fn a_transform_that_is_more_or_less_than_a_stage_is_refused() {
    let counts = transform_error(|ctx| ctx.input::<String>().count_by_value().output());
    assert_eq!(
        counts,
        "a transform maps, filters and flat-maps the rows of its input, and nothing else: `reduce-2` belongs in a job"
    );
    assert!(transform_error(|ctx| ctx.input::<String>().output()).starts_with("the transform does nothing"));
    assert!(transform_error(|ctx| drop(ctx.input::<String>())).starts_with("the transform has no output"));
    assert!(transform_error(|ctx| ctx.text("lines").output()).contains("`source lines` belongs in a job"));
    let cached = transform_error(|ctx| ctx.input::<i64>().filter(|_| true).cache().filter(|_| true).output());
    assert!(cached.starts_with("a transform is one stage"), "{cached}");
}
