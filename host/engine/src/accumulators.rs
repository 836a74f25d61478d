//! The totals of a job's accumulators: restored from the newest commit, taken forward batch by batch, part of the next commit.
//!
//! A total is one entry of the commit's facts, `accumulator/NAME`, as text: its kind and the number, `counter 12`.

use std::collections::BTreeMap;

use millpond_core::accumulator::Update;
use millpond_core::{Accumulator, AccumulatorTotal, BatchTime, Number};

use crate::error::{Error, Result};

/// Begins the names of the entries.
const ENTRY: &str = "accumulator/";

/// The totals, in the plan's order.
#[derive(Debug)]
pub(crate) struct Accumulators {
    totals: Vec<Total>,
}

#[derive(Debug)]
struct Total {
    accumulator: Accumulator,
    value: Option<Number>,
    /// Since the last commit.
    changed: bool,
}

impl Accumulators {
    /// The totals of the newest commit; those that it does not have begin anew.
    pub(crate) fn restore(declared: &[Accumulator], meta: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let total = |accumulator: &Accumulator| {
            let entry = meta.get(&format!("{ENTRY}{}", accumulator.name));
            let value = entry.map(|bytes| read(accumulator, bytes)).transpose()?;
            let value = value.or(accumulator.kind.start());
            Ok(Total { accumulator: accumulator.clone(), value, changed: false })
        };
        Ok(Self { totals: declared.iter().map(total).collect::<Result<_>>()? })
    }

    /// Names of totals in a commit that the plan has no accumulator for.
    pub(crate) fn unknown<'a>(&self, meta: &'a BTreeMap<String, Vec<u8>>) -> Vec<&'a str> {
        let names = meta.keys().filter_map(|name| name.strip_prefix(ENTRY));
        names.filter(|name| self.totals.iter().all(|total| total.accumulator.name != *name)).collect()
    }

    /// Takes in what a batch's calls had.
    pub(crate) fn add(&mut self, batch_time: BatchTime, updates: &[Update]) -> Result<()> {
        for (index, total) in self.totals.iter_mut().enumerate() {
            let mut own =
                updates.iter().filter(|update| update.accumulator == index).map(|update| update.number).peekable();
            if own.peek().is_none() {
                continue;
            }
            let overflow =
                || Error::AccumulatorOverflow { accumulator: total.accumulator.name.clone(), batch_time: batch_time.0 };
            total.value = total.accumulator.kind.total(total.value, own).ok_or_else(overflow)?;
            total.changed = true;
        }
        Ok(())
    }

    /// What the next commit has to keep.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, Vec<u8>)> {
        let entry = |total: &mut Total| {
            if !std::mem::take(&mut total.changed) {
                return None;
            }
            let value = total.value.map(|number| format!("{} {number}", total.accumulator.kind.name()))?;
            Some((format!("{ENTRY}{}", total.accumulator.name), value.into_bytes()))
        };
        self.totals.iter_mut().filter_map(entry).collect()
    }

    pub(crate) fn totals(&self) -> Vec<AccumulatorTotal> {
        let total = |total: &Total| AccumulatorTotal { name: total.accumulator.name.clone(), value: total.value };
        self.totals.iter().map(total).collect()
    }
}

/// A total as a commit has it.
fn read(accumulator: &Accumulator, bytes: &[u8]) -> Result<Number> {
    let text = String::from_utf8_lossy(bytes);
    let (kind, number) = text.split_once(' ').unwrap_or((&text, ""));
    let expected = accumulator.kind.name();
    if kind != expected {
        return Err(Error::AccumulatorKind { accumulator: accumulator.name.clone(), expected, found: kind.to_owned() });
    }
    let int64 = || number.parse().ok().map(Number::Int64);
    let float64 = || number.parse().ok().map(Number::Float64);
    let number = int64().filter(|number| accumulator.kind.takes(*number));
    number.or_else(|| float64().filter(|number| accumulator.kind.takes(*number))).ok_or_else(|| Error::StateContent {
        node: format!("{ENTRY}{}", accumulator.name),
        reason: format!("`{text}` is no total"),
    })
}

#[cfg(test)]
mod tests {
    use millpond_core::{AccumulatorKind, Classify};

    use super::*;

    fn accumulator(kind: AccumulatorKind) -> Accumulator {
        Accumulator { name: kind.name().to_owned(), kind }
    }

    fn updates(numbers: &[Number]) -> Vec<Update> {
        numbers.iter().map(|number| Update { accumulator: 0, number: *number }).collect()
    }

    #[test]
    fn totals_survive_a_commit_of_every_kind() {
        let numbers = |kind: AccumulatorKind| -> Vec<Number> {
            let all: [Number; 8] = [
                7.into(),
                (-1).into(),
                i64::MAX.into(),
                0.1.into(),
                f64::NAN.into(),
                f64::NEG_INFINITY.into(),
                (-0.0).into(),
                1e300.into(),
            ];
            all.into_iter().filter(|number| kind.takes(*number)).collect()
        };
        for kind in AccumulatorKind::ALL {
            for number in numbers(kind) {
                let declared = [accumulator(kind)];
                let mut before = Accumulators::restore(&declared, &BTreeMap::new()).unwrap();
                before.add(BatchTime(1), &updates(&[number])).unwrap();
                let meta: BTreeMap<_, _> = before.take_changes().into_iter().collect();
                assert_eq!(before.take_changes(), [], "once");
                let after = Accumulators::restore(&declared, &meta).unwrap();
                assert_eq!(format!("{:?}", after.totals()), format!("{:?}", before.totals()), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_total_that_leaves_its_range_is_named() {
        let mut totals = Accumulators::restore(&[accumulator(AccumulatorKind::Counter)], &BTreeMap::new()).unwrap();
        totals.add(BatchTime(1), &updates(&[i64::MAX.into()])).unwrap();
        let error = totals.add(BatchTime(2), &updates(&[1.into()])).unwrap_err();
        assert_eq!(error.code().0, "MP0802");
        assert!(error.to_string().contains("accumulator `counter` leaves the range"), "{error}");
    }

    #[test]
    fn a_total_of_another_kind_is_not_gone_on_with() {
        let meta = BTreeMap::from([("accumulator/n".to_owned(), b"sum-int64 5".to_vec())]);
        let declared = |kind| [Accumulator { name: "n".to_owned(), kind }];
        let error = Accumulators::restore(&declared(AccumulatorKind::MaxInt64), &meta).unwrap_err();
        assert_eq!(error.code().0, "MP0706");
        let other = Accumulators::restore(&[accumulator(AccumulatorKind::Counter)], &meta).unwrap();
        assert_eq!((other.unknown(&meta), other.totals()[0].value), (vec!["n"], Some(0.into())));
        let damaged = BTreeMap::from([("accumulator/n".to_owned(), b"sum-int64 5.5".to_vec())]);
        let error = Accumulators::restore(&declared(AccumulatorKind::SumInt64), &damaged).unwrap_err();
        assert_eq!(error.code().0, "MP0704");
    }
}
