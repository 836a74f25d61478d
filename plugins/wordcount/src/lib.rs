//! Running word count: how often each word has come so far, the most frequent first.
//!
//! Words are what stands between spaces, as they are: `Pond` and `pond,` are words of their own. The setting `top` says how
//! many come out (default 10; 0 = all). Golden output lies in `expected/`.

use std::cmp::Reverse;

use millpond::{StreamingContext, text};

millpond::job!(wordcount);

/// The dataflow.
pub fn wordcount(ctx: &mut StreamingContext) {
    let top: usize = ctx.param_or("top", 10);
    let counts = ctx
        .text("lines")
        .flat_map::<String>(|line, out| words(line).for_each(|word| out.push(word)))
        .count_by_value()
        .update_state_by_key(|counts, total: Option<i64>| Some(total.unwrap_or(0) + counts.sum()))
        .columns(["word", "count"]);
    let ordered = match top {
        0 => counts.sort_by(|(word, count)| (Reverse(count), word)),
        top => counts.top_by(top, |(word, count)| (Reverse(count), word)),
    };
    ordered.sink("counts");
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    text::split(line, ' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param, Plan};

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

    #[test]
    fn runs_of_spaces_make_no_empty_words() {
        assert_eq!(words("  the   mill pond ").collect::<Vec<_>>(), ["the", "mill", "pond"]);
        assert_eq!(words("").count(), 0);
        assert_eq!(words("   ").count(), 0);
    }

    #[test]
    fn case_and_punctuation_are_part_of_a_word() {
        assert_eq!(words("Pond pond, pond").collect::<Vec<_>>(), ["Pond", "pond,", "pond"]);
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
