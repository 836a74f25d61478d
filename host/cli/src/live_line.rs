//! The text of the live line, fitted to the terminal's width.

use millpond_core::BatchReport;

use crate::text::{count, duration_us};

/// The line in at most `width` characters: first long labels, then short ones, then without the last fields.
pub(crate) fn live_line(job: &str, report: &BatchReport, rows_per_s: u64, width: usize) -> String {
    let fields = |labels: [&str; 4]| {
        let [batch, processing, delay, guest] = labels;
        [
            format!("{batch} {}", count(report.batches)),
            format!("{} rows/s", count(rows_per_s)),
            format!("{processing} {}", duration_us(report.processing_us)),
            format!("{delay} {}", duration_us(report.scheduling_delay_us)),
            format!("{guest} {}", duration_us(report.phases.guest_us)),
        ]
    };
    let join = |fields: &[String]| format!("{job}  {}", fields.join("  "));
    let fits = |line: &String| line.chars().count() <= width;
    let long = join(&fields(["batch", "processing", "delay", "in guest"]));
    let short = fields(["#", "proc", "delay", "guest"]);
    let lines = std::iter::once(long).chain((1..=short.len()).rev().map(|number| join(&short[..number])));
    lines.into_iter().find(fits).unwrap_or_else(|| short[0].chars().take(width).collect())
}

#[cfg(test)]
mod tests {
    use millpond_core::PhaseTimes;

    use super::*;

    #[test]
    fn line_fits_every_width() {
        let report = BatchReport {
            batches: 1_200,
            processing_us: 3_400,
            scheduling_delay_us: 250,
            phases: PhaseTimes { guest_us: 1_200_000, ..PhaseTimes::default() },
            ..BatchReport::default()
        };
        let line = |width| live_line("wordcount", &report, 1_234_567, width);
        assert_eq!(
            line(119),
            "wordcount  batch 1,200  1,234,567 rows/s  processing 3.4 ms  delay 250 us  in guest 1.20 s"
        );
        assert_eq!(line(79), "wordcount  # 1,200  1,234,567 rows/s  proc 3.4 ms  delay 250 us  guest 1.20 s");
        assert_eq!(line(39), "wordcount  # 1,200  1,234,567 rows/s");
        assert_eq!(line(20), "wordcount  # 1,200");
        assert_eq!(line(7), "# 1,200");
        for width in 0..130 {
            assert!(line(width).chars().count() <= width, "{width}");
        }
    }
}
