//! Accumulators: totals that user code adds to on the side, batch by batch.
//!
//! A call hands over its own sums and extremes ([`Update`]); a [`Ledger`] keeps them until the batch is complete; the engine takes
//! them into the totals, which are part of the job's commits. So a total has what committed batches added, each once.
//! Source: `org.apache.spark.util.AccumulatorV2`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::PartitionId;

/// An accumulator of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accumulator {
    /// Unique among the plan's accumulators; the total is kept under it.
    pub name: String,
    /// What becomes of updates.
    pub kind: AccumulatorKind,
}

/// How updates become a total. See `wit/dataflow.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccumulatorKind {
    /// A sum of whole numbers, none of which is negative.
    Counter,
    /// A sum.
    SumInt64,
    /// A sum.
    SumFloat64,
    /// The least.
    MinInt64,
    /// The least, NaN last.
    MinFloat64,
    /// The greatest.
    MaxInt64,
    /// The greatest, NaN last.
    MaxFloat64,
}

impl AccumulatorKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Counter,
        Self::SumInt64,
        Self::SumFloat64,
        Self::MinInt64,
        Self::MinFloat64,
        Self::MaxInt64,
        Self::MaxFloat64,
    ];

    /// The contract's name, which commits and messages have as well.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::SumInt64 => "sum-int64",
            Self::SumFloat64 => "sum-float64",
            Self::MinInt64 => "min-int64",
            Self::MinFloat64 => "min-float64",
            Self::MaxInt64 => "max-int64",
            Self::MaxFloat64 => "max-float64",
        }
    }

    /// What a total is before the first update.
    #[must_use]
    pub fn start(self) -> Option<Number> {
        match self {
            Self::Counter | Self::SumInt64 => Some(Number::Int64(0)),
            Self::SumFloat64 => Some(Number::Float64(0.0)),
            _ => None,
        }
    }

    /// Whether a call may hand over this number.
    #[must_use]
    pub fn takes(self, number: Number) -> bool {
        match (self, number) {
            (Self::Counter, Number::Int64(value)) => value >= 0,
            (Self::SumInt64 | Self::MinInt64 | Self::MaxInt64, Number::Int64(_)) => true,
            (Self::SumFloat64 | Self::MinFloat64 | Self::MaxFloat64, Number::Float64(_)) => true,
            _ => false,
        }
    }

    /// The total after these updates; `None` when a sum of whole numbers leaves the range of int64. Only the sum of all counts, so
    /// the answer does not depend on their order. All are numbers that this kind [takes](Self::takes).
    pub fn total(self, before: Option<Number>, updates: impl Iterator<Item = Number>) -> Option<Option<Number>> {
        let all = before.into_iter().chain(updates);
        match self {
            Self::Counter | Self::SumInt64 => {
                let sum: i128 = all.map(|number| i128::from(number.as_int64())).sum();
                i64::try_from(sum).ok().map(|sum| Some(Number::Int64(sum)))
            }
            Self::SumFloat64 => Some(Some(Number::Float64(all.map(Number::as_float64).sum()))),
            Self::MinInt64 | Self::MinFloat64 => Some(all.min_by(Number::order)),
            Self::MaxInt64 | Self::MaxFloat64 => Some(all.max_by(Number::order)),
        }
    }
}

/// What an accumulator holds and is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of counters and of the kinds of int64.
    Int64(i64),
    /// Of the kinds of float64.
    Float64(f64),
}

impl Number {
    /// As min and max of columns have it: NaN last, -0.0 before 0.0.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int64(left), Self::Int64(right)) => left.cmp(right),
            _ => {
                let (left, right) = (self.as_float64(), other.as_float64());
                left.is_nan().cmp(&right.is_nan()).then_with(|| left.total_cmp(&right))
            }
        }
    }

    fn as_int64(self) -> i64 {
        match self {
            Self::Int64(value) => value,
            Self::Float64(value) => value as i64,
        }
    }

    fn as_float64(self) -> f64 {
        match self {
            Self::Int64(value) => value as f64,
            Self::Float64(value) => value,
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Int64(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float64(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int64(value) => write!(f, "{value}"),
            Self::Float64(value) => write!(f, "{value:?}"),
        }
    }
}

/// An accumulator and what it has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct AccumulatorTotal {
    /// The accumulator's name.
    pub name: String,
    /// The total; `None` for a minimum or maximum of nothing.
    pub value: Option<Number>,
}

/// What one call had for one accumulator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The accumulator's number in the plan.
    pub accumulator: usize,
    /// The call's own sum or extreme.
    pub number: Number,
}

/// The updates of calls, until they are asked for. One lock a call.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Entry>>);

/// What one call handed over.
#[derive(Debug)]
struct Entry {
    node: String,
    partition: PartitionId,
    updates: Vec<Update>,
}

impl Ledger {
    /// Notes what a call at this node, for this partition, had.
    pub fn note(&self, node: &str, partition: PartitionId, updates: Vec<Update>) {
        if !updates.is_empty() {
            self.lock().push(Entry { node: node.to_owned(), partition, updates });
        }
    }

    /// Gives all updates and forgets them: by node and partition, so that sums of floats are the same on replay.
    pub fn take(&self) -> Vec<Update> {
        let mut entries = std::mem::take(&mut *self.lock());
        // Calls of one partition come one after the other, and a stable sort leaves them so.
        entries.sort_by(|left, right| (&left.node, left.partition).cmp(&(&right.node, right.partition)));
        entries.into_iter().flat_map(|entry| entry.updates).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_take_their_own_numbers_and_make_totals_of_them() {
        use AccumulatorKind::{Counter, MaxFloat64, MaxInt64, MinFloat64, MinInt64, SumFloat64, SumInt64};
        let total = |kind: AccumulatorKind, numbers: &[Number]| {
            assert!(numbers.iter().all(|number| kind.takes(*number)), "{kind:?}");
            kind.total(kind.start(), numbers.iter().copied())
        };
        assert_eq!(total(Counter, &[1.into(), 2.into()]), Some(Some(3.into())));
        assert_eq!(total(SumInt64, &[i64::MAX.into(), 1.into()]), None);
        assert_eq!(total(SumInt64, &[i64::MAX.into(), 1.into(), (-5).into()]), Some(Some((i64::MAX - 4).into())));
        assert_eq!(total(SumFloat64, &[0.5.into(), 0.25.into()]), Some(Some(0.75.into())));
        assert_eq!(total(MinInt64, &[3.into(), (-2).into()]), Some(Some((-2).into())));
        assert_eq!(total(MaxInt64, &[3.into(), (-2).into()]), Some(Some(3.into())));
        assert_eq!(total(MinFloat64, &[f64::NAN.into(), 1.5.into()]), Some(Some(1.5.into())));
        assert_eq!(total(MaxFloat64, &[1.5.into(), 2.5.into()]), Some(Some(2.5.into())));
        assert_eq!(total(MaxFloat64, &[]), Some(None));
        let nan = total(MaxFloat64, &[f64::NAN.into(), 1.5.into()]);
        assert!(matches!(nan, Some(Some(Number::Float64(nan))) if nan.is_nan()));
        assert!(!Counter.takes((-1).into()) && !SumInt64.takes(1.0.into()) && !MaxFloat64.takes(1.into()));
    }

    #[test]
    fn updates_come_out_by_node_and_partition() {
        let ledger = Ledger::default();
        let update = |number: i64| Update { accumulator: 0, number: number.into() };
        ledger.note("b", PartitionId(0), vec![update(3)]);
        ledger.note("a", PartitionId(1), vec![update(2)]);
        ledger.note("a", PartitionId(0), vec![update(0), update(1)]);
        ledger.note("b", PartitionId(0), vec![update(4)]);
        assert_eq!(ledger.take(), (0..5).map(update).collect::<Vec<_>>());
        assert_eq!(ledger.take(), []);
    }
}
