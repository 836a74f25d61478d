//! Word count over a sliding window: the most frequent words of the last seconds.
//!
//! The counts are kept incrementally: words that come are added, words that leave the window are taken off. The settings
//! `window` and `slide` are durations (default 5 s every 1 s); both are multiples of the batch interval. `top` says how many words
//! come out (default 10; 0 = all).

use std::cmp::Reverse;
use std::time::Duration;

use millpond::StreamingContext;

millpond::job!(sliding_wordcount);

/// The dataflow.
pub fn sliding_wordcount(ctx: &mut StreamingContext) {
    let window = ctx.param_or("window", Duration::from_secs(5));
    let slide = ctx.param_or("slide", Duration::from_secs(1));
    let top: usize = ctx.param_or("top", 10);
    if let Some(sentence) = gap(window, slide) {
        ctx.refuse(sentence);
    }
    let counts = ctx
        .text("lines")
        .flat_map::<(String, i64)>(|line, out| words(line).for_each(|word| out.push((word, 1))))
        .reduce_by_key_and_window_with_inverse(|total, n| total + n, |total, n| total - n, window, slide)
        .columns(["word", "count"]);
    let ordered = match top {
        0 => counts.sort_by(|(word, count)| (Reverse(count), word)),
        top => counts.top_by(top, |(word, count)| (Reverse(count), word)),
    };
    ordered.sink("counts");
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').filter(|word| !word.is_empty())
}

/// Why some words would never be counted; `None` if all are.
fn gap(window: Duration, slide: Duration) -> Option<String> {
    (slide > window).then(|| {
        format!("the setting `slide` ({slide:?}) is longer than `window` ({window:?}): words in between would be in no window")
    })
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param, Plan};

    use super::*;

    fn plan(params: &[(&str, &str)]) -> Result<Plan, String> {
        let params: Vec<Param> =
            params.iter().map(|(name, value)| Param { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        millpond_job().plan(&params)
    }

    #[test]
    fn runs_of_spaces_make_no_empty_words() {
        assert_eq!(words(" a  pond ").collect::<Vec<_>>(), ["a", "pond"]);
    }

    #[test]
    fn window_and_slide_come_from_the_settings() {
        let plan = plan(&[("window", "30s"), ("slide", "10s")]).expect("a plan");
        let reduce = plan.nodes.iter().find_map(|node| match &node.operator {
            Operator::ReduceWindow(reduce) => Some(reduce),
            _ => None,
        });
        let reduce = reduce.expect("the job has a windowed reduce");
        assert_eq!((reduce.window.length_ms, reduce.window.slide_ms), (30_000, 10_000));
        assert!(reduce.invertible);
    }

    #[test]
    fn a_wrong_duration_is_named() {
        let sentence = plan(&[("window", "5 apples")]).expect_err("not a duration");
        assert_eq!(sentence, "the setting `window` is \"5 apples\": expected a duration such as 500ms, 5s, 2m or 1h");
    }

    #[test]
    fn a_slide_longer_than_the_window_is_refused() {
        assert!(gap(Duration::from_secs(5), Duration::from_secs(5)).is_none());
        let sentence = plan(&[("slide", "6s")]).expect_err("words would be lost");
        assert!(sentence.contains("`slide` (6s) is longer than `window` (5s)"), "{sentence}");
    }
}
