//! Running word count: how often each word has come so far, the most frequent first.
//!
//! Words are what stands between spaces, as they are: `Pond` and `pond,` are words of their own. The setting `top` says how
//! many come out (default 10; 0 = all). Golden output lies in `expected/`.

use std::cmp::Reverse;

use millpond::StreamingContext;

millpond::job!(wordcount);

/// The dataflow.
pub fn wordcount(ctx: &mut StreamingContext) {
    let top: usize = ctx.param_or("top", 10);
    let counts = ctx
        .text("lines")
        .split(' ')
        .count_by_value()
        .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
        .columns(["word", "count"]);
    let ordered = match top {
        0 => counts.sort_by(|(word, count)| (Reverse(count), word)),
        top => counts.top_by(top, |(word, count)| (Reverse(count), word)),
    };
    ordered.sink("counts");
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param, Plan, TaskInfo, batch_to_rows, rows_to_batch};

    use super::*;

    fn plan(top: &str) -> Result<Plan, String> {
        millpond_job().plan(&[Param { name: "top".to_owned(), value: top.to_owned() }])
    }

    fn limit(plan: &Plan) -> Option<u64> {
        plan.nodes.iter().find_map(|node| match &node.operator {
            Operator::Sort(sort) => Some(sort.limit),
            _ => None,
        })?
    }

    /// How often each word of the lines comes, in the order in which words are first seen.
    fn counted(lines: &[&str]) -> Vec<(String, i64)> {
        let job = millpond_job();
        let plan = job.plan(&[]).expect("a plan");
        let stage = (0..).zip(&plan.nodes).find(|(_, node)| matches!(node.operator, Operator::Stage(_)));
        let (stage, _) = stage.expect("words are counted in a stage");
        let task = TaskInfo { batch_time_ms: 0, partition: 0, partitions: 1, attempt: 0 };
        let lines = rows_to_batch(lines.iter().map(|line| (*line).to_owned())).expect("a few lines fit");
        batch_to_rows(job.run_stage(stage, &task, lines).expect("counting does not fail").batch)
            .expect("words and counts")
    }

    fn row(word: &str, count: i64) -> (String, i64) {
        (word.to_owned(), count)
    }

    #[test]
    fn runs_of_spaces_make_no_empty_words() {
        let words = [row("the", 2), row("mill", 1), row("pond", 1)];
        assert_eq!(counted(&["  the   mill pond ", "", "   ", "the"]), words);
    }

    #[test]
    fn case_and_punctuation_are_part_of_a_word() {
        assert_eq!(counted(&["Pond pond, pond"]), [row("Pond", 1), row("pond,", 1), row("pond", 1)]);
    }

    #[test]
    fn top_is_ten_unless_set_and_zero_means_all() {
        assert_eq!(limit(&millpond_job().plan(&[]).expect("a plan")), Some(10));
        assert_eq!(limit(&plan("3").expect("a plan")), Some(3));
        assert_eq!(limit(&plan("0").expect("a plan")), None);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let sentence = plan("many").expect_err("not a number");
        assert_eq!(sentence, "the setting `top` is \"many\": expected a whole number, not negative");
    }
}
