//! What accumulators must have come to after a case's last batch, as a file, and what differs between two such totals.
//!
//! ```text
//! {"name":"bad-lines","value":3}
//! {"name":"hottest","value":null}    a minimum or maximum of nothing
//! ```
//!
//! An accumulator that the file does not name is not looked at: how often a closure over partitions or a merge function runs depends
//! on how many partitions there are, so what it adds need not be the same in every way of running.

use std::collections::BTreeMap;
use std::path::Path;

use millpond_core::{Accumulator, AccumulatorKind, AccumulatorTotal, Number};
use millpond_testkit::diff::{Cells, Order, diff};
use serde::Deserialize;
use serde_json::{Value, json};

use super::case::bad;
use crate::error::{Error, did_you_mean};
use crate::report;

/// Totals by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals(BTreeMap<String, Value>);

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    value: Value,
}

const LINE_HELP: &str = "write {\"name\":NAME,\"value\":TOTAL} a line, one for each accumulator that is to be checked; `--bless` writes the whole file";

impl Totals {
    /// What a run had in the end.
    pub(crate) fn of(totals: &[AccumulatorTotal]) -> Self {
        Self(totals.iter().map(|total| (total.name.clone(), report::of_total(total))).collect())
    }

    /// Reads a file, every total in the words of [`Self::of`].
    ///
    /// **Errors**: MP0113 for a line that is no total of an accumulator of the plan.
    pub(crate) fn parse(path: &Path, accumulators: &[Accumulator], text: &str) -> Result<Self, Error> {
        let mut totals = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = total(accumulators, line)
                .map_err(|problem| bad(path.to_owned(), format!("line {}: {problem}", number + 1), LINE_HELP))?;
            if totals.insert(name.clone(), value).is_some() {
                let problem = format!("line {}: `{name}` is there twice", number + 1);
                return Err(bad(path.to_owned(), problem, LINE_HELP));
            }
        }
        Ok(Self(totals))
    }

    /// The file's text.
    pub(crate) fn render(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{}\n", json!({ "name": name, "value": value }))).collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out those that another run had otherwise and `keep` does not name; gives their names.
    pub(crate) fn split_off_unlike(&mut self, other: &Self, keep: &Self) -> Vec<String> {
        let is_alike = |name: &String, value: &Value| keep.0.contains_key(name) || other.0.get(name) == Some(value);
        let unlike: Vec<String> =
            self.0.iter().filter(|(name, value)| !is_alike(name, value)).map(|(name, _)| name.clone()).collect();
        unlike.iter().for_each(|name| drop(self.0.remove(name)));
        unlike
    }

    /// What differs in those that are expected; `None` = nothing.
    pub(crate) fn changes(&self, found: &Self) -> Option<String> {
        let cells = |(name, value): (&String, &Value)| -> Cells { vec![name.clone(), value.to_string()] };
        let expected: Vec<Cells> = self.0.iter().map(cells).collect();
        let found: Vec<Cells> = found.0.iter().filter(|(name, _)| self.0.contains_key(*name)).map(cells).collect();
        diff(&["accumulator".to_owned(), "total".to_owned()], &expected, &found, Order::Any)
    }
}

/// A line's name and total; what is wrong with it.
fn total(accumulators: &[Accumulator], line: &str) -> Result<(String, Value), String> {
    let Line { name, value } = serde_json::from_str(line).map_err(|error| format!("not a total: {error}"))?;
    let Some(accumulator) = accumulators.iter().find(|accumulator| accumulator.name == name) else {
        let names: Vec<&str> = accumulators.iter().map(|accumulator| accumulator.name.as_str()).collect();
        let hint = did_you_mean(&name, names.iter().copied())
            .map_or_else(|| format!("it has {}", names.join(", ")), |name| format!("did you mean `{name}`?"));
        return Err(format!("the job has no accumulator `{name}`; {hint}"));
    };
    let wrong = || format!("{value} is no total of `{name}`, which is of kind {}", accumulator.kind.name());
    let total = match number(accumulator.kind, &value).ok_or_else(wrong)? {
        None if accumulator.kind.start().is_some() => return Err(wrong()),
        total => AccumulatorTotal { name, value: total },
    };
    Ok((total.name.clone(), report::of_total(&total)))
}

/// A total as it stands in a report; `None` = it is none of this kind.
fn number(kind: AccumulatorKind, value: &Value) -> Option<Option<Number>> {
    let is_float = kind.takes(Number::Float64(0.0));
    let number = match value {
        Value::Null => return Some(None),
        Value::Number(number) if is_float => Number::Float64(number.as_f64()?),
        Value::String(text) if is_float => Number::Float64(text.parse().ok()?),
        Value::Number(number) => Number::Int64(number.as_i64()?),
        _ => return None,
    };
    kind.takes(number).then_some(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accumulators() -> Vec<Accumulator> {
        let accumulator = |kind: &AccumulatorKind| Accumulator { name: format!("the-{}", kind.name()), kind: *kind };
        AccumulatorKind::ALL.iter().map(accumulator).collect()
    }

    fn parse(text: &str) -> Result<Totals, String> {
        Totals::parse(Path::new("totals"), &accumulators(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn totals_of_every_kind_are_read_as_they_are_written() {
        let numbers = [
            Some(Number::Int64(7)),
            Some(Number::Int64(i64::MIN)),
            Some(Number::Float64(f64::NAN)),
            None,
            Some(Number::Float64(-0.5)),
            Some(Number::Int64(i64::MAX)),
            Some(Number::Float64(f64::NEG_INFINITY)),
        ];
        let total = |(accumulator, value): (Accumulator, _)| AccumulatorTotal { name: accumulator.name, value };
        let totals = Totals::of(&accumulators().into_iter().zip(numbers).map(total).collect::<Vec<_>>());
        assert_eq!(parse(&totals.render()).unwrap(), totals);
        // A whole number may be written without its point.
        let sum = |text: &str| parse(&format!("{{\"name\":\"the-sum-float64\",\"value\":{text}}}")).unwrap();
        assert_eq!(sum("3"), sum("3.0"));
    }

    #[test]
    fn lines_that_are_no_totals_are_refused_with_their_place() {
        for (text, says) in [
            ("\n[]", "line 2: not a total: "),
            ("{\"name\":\"the-counter\"}", "line 1: not a total: missing field `value`"),
            ("{\"name\":\"the-counter\",\"valve\":1}", "unknown field `valve`"),
            (
                "{\"name\":\"the-countr\",\"value\":1}",
                "the job has no accumulator `the-countr`; did you mean `the-counter`?",
            ),
            ("{\"name\":\"the-counter\",\"value\":-1}", "-1 is no total of `the-counter`, which is of kind counter"),
            ("{\"name\":\"the-counter\",\"value\":null}", "null is no total of `the-counter`"),
            ("{\"name\":\"the-min-int64\",\"value\":0.5}", "0.5 is no total of `the-min-int64`"),
            ("{\"name\":\"the-max-float64\",\"value\":\"much\"}", "\"much\" is no total of `the-max-float64`"),
            (
                "# twice\n{\"name\":\"the-counter\",\"value\":1}\n{\"name\":\"the-counter\",\"value\":1}",
                "line 3: `the-counter` is there twice",
            ),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn only_named_totals_are_compared() {
        let totals = |totals: &[(&str, i64)]| {
            Totals(totals.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect())
        };
        let found = totals(&[("a", 1), ("b", 2)]);
        assert_eq!(totals(&[("a", 1)]).changes(&found), None);
        let shown = totals(&[("a", 3)]).changes(&found).unwrap();
        assert!(
            shown.contains("- a            3") && shown.contains("+ a            1") && !shown.contains('b'),
            "{shown}"
        );
        let mut straight = totals(&[("a", 1), ("b", 2), ("c", 3)]);
        let unlike = straight.split_off_unlike(&totals(&[("a", 1), ("b", 9), ("c", 9)]), &totals(&[("c", 0)]));
        assert_eq!((unlike, straight), (vec!["b".to_owned()], totals(&[("a", 1), ("c", 3)])));
    }
}
