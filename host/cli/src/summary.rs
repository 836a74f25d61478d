//! What `run` says at the end.

use millpond_core::{AccumulatorTotal, Number};
use millpond_engine::Summary;
use serde_json::{Value, json};

use crate::report;
use crate::text::{bytes, count, duration_us, per_second};

/// The summary as aligned lines and perhaps a hint, without a line end after the last. `how` says how the job ended: `done`,
/// `stopped`.
#[must_use]
pub fn render(job: &str, how: &str, summary: &Summary, hint: Option<&str>) -> String {
    let rate = per_second(summary.rows_in, summary.elapsed_us);
    let mut lines = vec![
        ("batches", format!("{} in {}", count(summary.batches), duration_us(summary.elapsed_us))),
        ("rows in", format!("{} ({})", count(summary.rows_in), bytes(summary.bytes_in))),
        ("rows out", count(summary.rows_out)),
        ("rows/s", count(rate)),
        ("processing", duration_us(summary.processing_us)),
        ("in guest", format!("{} (all threads)", duration_us(summary.phases.guest_us))),
        ("commits", duration_us(summary.phases.commit_us)),
        ("state", format!("{} keys, {}", count(summary.state_keys), bytes(summary.state_bytes))),
    ];
    if summary.bad_records > 0 {
        lines.push(("bad records", count(summary.bad_records)));
    }
    if summary.rejected > 0 {
        lines.push(("rejected rows", count(summary.rejected)));
    }
    let totals: Vec<String> = summary.accumulators.iter().map(of_accumulator).collect();
    for (accumulator, total) in summary.accumulators.iter().zip(totals) {
        lines.push((&accumulator.name, total));
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines = lines.iter().map(|(name, value)| format!("\n  {name:width$}  {value}"));
    let hint = hint.map_or_else(String::new, |hint| format!("\n{hint}"));
    format!("{job}: {how}{}{hint}", lines.collect::<String>())
}

fn of_accumulator(total: &AccumulatorTotal) -> String {
    match total.value {
        None => "none".to_owned(),
        Some(Number::Int64(value)) => match u64::try_from(value) {
            Ok(value) => count(value),
            Err(_) => format!("-{}", count(value.unsigned_abs())),
        },
        Some(number) => number.to_string(),
    }
}

/// The summary as one line of JSON, with the fields that log lines have.
#[must_use]
pub fn render_json(job: &str, how: &str, summary: &Summary, hint: Option<&str>) -> String {
    let mut line = json!({ "level": "INFO", "target": "millpond", "message": "summary", "job": job, "outcome": how });
    if let (Value::Object(line), Value::Object(totals)) = (&mut line, report::of_summary(summary)) {
        line.extend(totals);
    }
    if let Some(hint) = hint {
        line["hint"] = hint.into();
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use millpond_core::PhaseTimes;

    use super::*;

    fn summary() -> Summary {
        Summary {
            batches: 40,
            rows_in: 2_000_000,
            rows_out: 400,
            bytes_in: 12 << 20,
            elapsed_us: 2_000_000,
            processing_us: 1_900_000,
            phases: PhaseTimes { guest_us: 3_000_000, commit_us: 45_000, ..PhaseTimes::default() },
            state_keys: 12_345,
            state_bytes: 3 << 20,
            ..Summary::default()
        }
    }

    #[test]
    fn summary_is_aligned() {
        insta::assert_snapshot!(render("wordcount", "done", &summary(), None), @r"
        wordcount: done
          batches     40 in 2.00 s
          rows in     2,000,000 (12.0 MiB)
          rows out    400
          rows/s      1,000,000
          processing  1.90 s
          in guest    3.00 s (all threads)
          commits     45.0 ms
          state       12,345 keys, 3.0 MiB
        ");
    }

    #[test]
    fn losses_are_shown_only_when_there_are_any() {
        let text = render("wordcount", "done", &Summary { bad_records: 3, rejected: 1, ..summary() }, None);
        assert!(text.ends_with("\n  bad records    3\n  rejected rows  1"), "{text}");
    }

    #[test]
    fn accumulators_stand_under_the_rest() {
        let total = |name: &str, value| AccumulatorTotal { name: name.to_owned(), value };
        let accumulators = vec![
            total("short-lines-of-text", Some(12_345.into())),
            total("balance", Some((-1_000).into())),
            total("mean", Some(0.25.into())),
            total("least", None),
        ];
        let text = render("wordcount", "done", &Summary { accumulators, ..summary() }, None);
        let expected = "
  short-lines-of-text  12,345
  balance              -1,000
  mean                 0.25
  least                none";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn json_summary_is_one_object_on_one_line() {
        let text = render_json("wordcount", "stopped", &summary(), Some("no input"));
        assert!(!text.contains('\n'), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["job"], &line["outcome"]), (&json!("wordcount"), &json!("stopped")));
        assert_eq!((&line["rows_in"], &line["hint"]), (&json!(2_000_000), &json!("no input")));
    }
}
