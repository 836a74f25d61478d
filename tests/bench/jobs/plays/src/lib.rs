//! Plays per video over a sliding window, the most played first.
//!
//! A line is `videoId,unixSeconds`. Plays are counted by the batch that they come in; the seconds are for people. A line
//! without a comma is rejected. The settings `window` and `slide` are durations (default 60 s every 10 s); `top` says how many
//! videos come out (default 10; 0 = all).

use std::cmp::Reverse;
use std::time::Duration;

use millpond::{RowError, StreamingContext, text};

millpond::job!(plays);

/// The dataflow.
pub fn plays(ctx: &mut StreamingContext) {
    let window = ctx.param_or("window", Duration::from_secs(60));
    let slide = ctx.param_or("slide", Duration::from_secs(10));
    let top: usize = ctx.param_or("top", 10);
    let counts =
        ctx.text("log").try_map::<String>(video).count_by_value_and_window(window, slide).columns(["video", "plays"]);
    let ordered = match top {
        0 => counts.sort_by(|(video, plays)| (Reverse(plays), video)),
        top => counts.top_by(top, |(video, plays)| (Reverse(plays), video)),
    };
    ordered.sink("plays");
}

/// The video that a line tells of.
fn video(line: &str) -> Result<&str, RowError> {
    let (video, _) = text::split_once(line, ',').ok_or("expected `videoId,unixSeconds`")?;
    Ok(video)
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param, Plan};

    use super::*;

    fn plan(params: &[(&str, &str)]) -> Plan {
        let params: Vec<Param> =
            params.iter().map(|(name, value)| Param { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        millpond_job().plan(&params).expect("a plan")
    }

    #[test]
    fn a_video_is_what_stands_before_the_first_comma() {
        assert_eq!(video("v7,1700000000").ok(), Some("v7"));
        assert_eq!(video(",1700000000").ok(), Some(""));
        assert_eq!(video("v7,1,2").ok(), Some("v7"));
        assert!(video("v7 1700000000").is_err());
    }

    #[test]
    fn plays_that_leave_the_window_are_taken_off() {
        let plan = plan(&[]);
        let reduce = plan.nodes.iter().find_map(|node| match &node.operator {
            Operator::ReduceWindow(reduce) => Some(reduce),
            _ => None,
        });
        let reduce = reduce.expect("the job has a windowed reduce");
        assert_eq!((reduce.window.length_ms, reduce.window.slide_ms, reduce.invertible), (60_000, 10_000, true));
    }

    #[test]
    fn top_is_ten_unless_set_and_zero_means_all() {
        let limit = |plan: &Plan| {
            plan.nodes.iter().find_map(|node| match &node.operator {
                Operator::Sort(sort) => Some(sort.limit),
                _ => None,
            })
        };
        assert_eq!(limit(&plan(&[])), Some(Some(10)));
        assert_eq!(limit(&plan(&[("top", "0")])), Some(None));
    }
}
