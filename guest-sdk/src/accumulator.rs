//! Accumulators: totals that closures add to on the side.
//!
//! A handle is a number. While a call is worked on, its thread has a slot for each accumulator of the plan; what the slots hold at
//! the end is handed to the host once. Natively it is laid aside for the test kit.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::bindings::millpond::plugin::accumulators::{Number as RawNumber, Update};
use crate::bindings::millpond::plugin::dataflow::{Accumulator as Declared, AccumulatorKind};
use crate::bindings::millpond::plugin::types::Failure;
use crate::failure::user;

/// Counts on the side: what [`StreamingContext::counter`](crate::StreamingContext::counter) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    number: u32,
}

impl Counter {
    pub(crate) fn new(number: u32) -> Self {
        Self { number }
    }

    /// Adds to the count. **Cost**: no call out of the component; that is made once a call.
    ///
    /// # Panics
    /// Outside of a call for a batch, and in a job that the counter does not belong to.
    #[inline]
    pub fn add(self, count: u64) {
        with_slot(self.number, AccumulatorKind::Counter, |slot| slot.add_int64(i128::from(count)));
    }
}

/// A sum, minimum or maximum on the side: what [`StreamingContext::sum`](crate::StreamingContext::sum),
/// [`min`](crate::StreamingContext::min) and [`max`](crate::StreamingContext::max) return.
#[derive(Debug, PartialEq, Eq)]
pub struct Accumulator<V> {
    number: u32,
    kind: AccumulatorKind,
    values: PhantomData<fn(V)>,
}

impl<V> Clone for Accumulator<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Accumulator<V> {}

impl<V: Accumulated> Accumulator<V> {
    pub(crate) fn new(number: u32, kind: AccumulatorKind) -> Self {
        Self { number, kind, values: PhantomData }
    }

    /// Adds to the sum, or compares with the minimum or maximum. **Cost**: no call out of the component; that is made once a call.
    ///
    /// # Panics
    /// Outside of a call for a batch, and in a job that the accumulator does not belong to.
    #[inline]
    pub fn add(self, value: V) {
        with_slot(self.number, self.kind, |slot| value.add_to(slot));
    }
}

/// Numbers that accumulators take: i64 and f64.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be accumulated",
    label = "not a number of an accumulator",
    note = "accumulators are of i64 or f64: ctx.sum::<i64>(\"bytes\")"
)]
pub trait Accumulated: Copy + sealed::Sealed {
    #[doc(hidden)]
    const SUM: AccumulatorKind;
    #[doc(hidden)]
    const MIN: AccumulatorKind;
    #[doc(hidden)]
    const MAX: AccumulatorKind;
    #[doc(hidden)]
    fn add_to(self, slot: &mut Slot);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
}

impl Accumulated for i64 {
    const SUM: AccumulatorKind = AccumulatorKind::SumInt64;
    const MIN: AccumulatorKind = AccumulatorKind::MinInt64;
    const MAX: AccumulatorKind = AccumulatorKind::MaxInt64;

    #[inline]
    fn add_to(self, slot: &mut Slot) {
        slot.add_int64(i128::from(self));
    }
}

impl Accumulated for f64 {
    const SUM: AccumulatorKind = AccumulatorKind::SumFloat64;
    const MIN: AccumulatorKind = AccumulatorKind::MinFloat64;
    const MAX: AccumulatorKind = AccumulatorKind::MaxFloat64;

    #[inline]
    fn add_to(self, slot: &mut Slot) {
        slot.add_float64(self);
    }
}

/// What a call has for one accumulator so far.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    kind: AccumulatorKind,
    /// Whether there was an update.
    used: bool,
    /// Of the kinds of int64. Wider, so that only the call's sum has to fit.
    int64: i128,
    float64: f64,
}

impl Slot {
    fn new(kind: AccumulatorKind) -> Self {
        Self { kind, used: false, int64: 0, float64: 0.0 }
    }

    #[inline]
    fn add_int64(&mut self, value: i128) {
        self.int64 = match self.kind {
            AccumulatorKind::MinInt64 if self.used => self.int64.min(value),
            AccumulatorKind::MaxInt64 if self.used => self.int64.max(value),
            AccumulatorKind::MinInt64 | AccumulatorKind::MaxInt64 => value,
            _ => self.int64 + value,
        };
        self.used = true;
    }

    #[inline]
    fn add_float64(&mut self, value: f64) {
        // As the host has it: NaN last, -0.0 before 0.0.
        let order = || value.is_nan().cmp(&self.float64.is_nan()).then_with(|| value.total_cmp(&self.float64));
        self.float64 = match self.kind {
            AccumulatorKind::MinFloat64 if self.used && order() != Ordering::Less => self.float64,
            AccumulatorKind::MaxFloat64 if self.used && order() != Ordering::Greater => self.float64,
            AccumulatorKind::MinFloat64 | AccumulatorKind::MaxFloat64 => value,
            _ => self.float64 + value,
        };
        self.used = true;
    }
}

thread_local! {
    /// The slots of the call that this thread works on.
    static SLOTS: RefCell<Option<Vec<Slot>>> = const { RefCell::new(None) };
    /// Natively: what the newest call handed over.
    static LAID_ASIDE: Cell<Vec<Update>> = const { Cell::new(Vec::new()) };
}

#[inline]
fn with_slot(number: u32, kind: AccumulatorKind, change: impl FnOnce(&mut Slot)) {
    SLOTS.with_borrow_mut(|slots| {
        let slots = slots.as_mut().expect(
            "an accumulator is added to only while a batch is worked on: add inside an operator's closure, not where the job is put together",
        );
        match slots.get_mut(number as usize).filter(|slot| slot.kind == kind) {
            Some(slot) => change(slot),
            None => panic!("this accumulator belongs to another job: make it with this job's context"),
        }
    });
}

/// Has slots for a call until it is dropped.
pub(crate) struct Accumulating<'a> {
    declared: &'a [Declared],
    before: Option<Vec<Slot>>,
}

impl<'a> Accumulating<'a> {
    pub(crate) fn enter(declared: &'a [Declared]) -> Self {
        LAID_ASIDE.set(Vec::new());
        let slots = declared.iter().map(|accumulator| Slot::new(accumulator.kind)).collect();
        Self { declared, before: SLOTS.replace(Some(slots)) }
    }

    /// Gives the host what the call has come to.
    pub(crate) fn hand_over(self) -> Result<(), Failure> {
        let slots = SLOTS.with_borrow_mut(|slots| slots.as_mut().map(std::mem::take)).unwrap_or_default();
        let used = (0..).zip(slots.iter().zip(self.declared)).filter(|(_, (slot, _))| slot.used);
        let update = |(accumulator, (slot, declared)): (u32, (&Slot, &Declared))| {
            let number = match slot.kind {
                AccumulatorKind::SumFloat64 | AccumulatorKind::MinFloat64 | AccumulatorKind::MaxFloat64 => {
                    RawNumber::Float64(slot.float64)
                }
                _ => RawNumber::Int64(i64::try_from(slot.int64).map_err(|_| overflow(&declared.name))?),
            };
            Ok(Update { accumulator, number })
        };
        let updates = used.map(update).collect::<Result<Vec<_>, Failure>>()?;
        if updates.is_empty() {
            return Ok(());
        }
        if cfg!(target_arch = "wasm32") {
            crate::bindings::millpond::plugin::accumulators::add(&updates);
        } else {
            LAID_ASIDE.set(updates);
        }
        Ok(())
    }
}

impl Drop for Accumulating<'_> {
    fn drop(&mut self) {
        SLOTS.set(self.before.take());
    }
}

fn overflow(name: &str) -> Failure {
    user(format!(
        "the accumulator `{name}` leaves the range of a 64-bit integer within one call: use a sum of f64, or count in a coarser unit"
    ))
}

/// What the newest call of a job on this thread had for its accumulators, for test kits: it is empty if the call failed.
/// In a component the host has it.
#[must_use]
pub fn take_updates() -> Vec<Update> {
    LAID_ASIDE.take()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::runtime::{Job, TaskInfo, rows_to_batch};

    const TASK: TaskInfo = TaskInfo { batch_time_ms: 1000, partition: 0, partitions: 1, attempt: 0 };

    fn call(define: fn(&mut crate::StreamingContext), numbers: &[f64]) -> Result<Vec<Update>, Failure> {
        let job = Job::new(define);
        job.plan(&[]).expect("a plan");
        job.run_stage(1, &TASK, rows_to_batch(numbers.iter().copied()).expect("fits")).map(|_| take_updates())
    }

    fn every_kind(ctx: &mut crate::StreamingContext) {
        let (count, sum, total) = (ctx.counter("count"), ctx.sum::<i64>("sum"), ctx.sum::<f64>("total"));
        let (least, greatest) = (ctx.min::<f64>("least"), ctx.max::<i64>("greatest"));
        let add = move |number: f64| {
            count.add(1);
            sum.add(number as i64);
            total.add(number);
            least.add(number);
            greatest.add(number as i64);
            true
        };
        ctx.source::<f64>("in").filter(add).sink("out");
    }

    #[test]
    fn a_call_hands_over_its_own_totals() {
        let numbers: Vec<_> =
            call(every_kind, &[2.5, f64::NAN, -4.5]).expect("run").into_iter().map(|update| update.number).collect();
        assert!(matches!(numbers[2], RawNumber::Float64(nan) if nan.is_nan()));
        let others = [&numbers[..2], &numbers[3..]].concat();
        assert_eq!(others, [RawNumber::Int64(3), RawNumber::Int64(-2), RawNumber::Float64(-4.5), RawNumber::Int64(2)]);
        assert_eq!(call(every_kind, &[]).expect("run"), [], "a call that adds nothing hands nothing over");
    }

    #[test]
    fn only_the_sum_of_a_call_has_to_fit() {
        fn job(ctx: &mut crate::StreamingContext) {
            let sum = ctx.sum::<i64>("bytes");
            let add = move |number: f64| {
                sum.add(if number > 0.0 { i64::MAX } else { i64::MIN });
                true
            };
            ctx.source::<f64>("in").filter(add).sink("out");
        }
        let updates = call(job, &[1.0, 1.0, -1.0]).expect("run");
        assert_eq!(updates, [Update { accumulator: 0, number: RawNumber::Int64(i64::MAX - 1) }]);
        let failure = call(job, &[1.0, 1.0]).expect_err("too much");
        assert!(failure.message.contains("`bytes` leaves the range"), "{}", failure.message);
        assert_eq!(take_updates(), []);
    }

    #[test]
    fn an_accumulator_twice_is_one_unless_it_is_of_two_kinds() {
        let plan = |define: fn(&mut crate::StreamingContext)| Job::new(define).plan(&[]);
        let once = plan(|ctx| {
            assert_eq!(ctx.counter("rows"), ctx.counter("rows"));
            ctx.text("lines").sink("out");
        });
        assert_eq!(once.expect("a plan").accumulators.len(), 1);
        let refused = plan(|ctx| {
            ctx.counter("rows");
            ctx.max::<i64>("rows");
            ctx.text("lines").sink("out");
        });
        let sentence = refused.expect_err("two kinds");
        assert!(sentence.contains("the accumulator `rows` is made twice"), "{sentence}");
        let refused = plan(|ctx| {
            ctx.counter("");
            ctx.text("lines").sink("out");
        });
        assert!(refused.expect_err("no name").contains("1 to 128 bytes"));
    }

    #[test]
    fn outside_of_a_call_there_is_nothing_to_add_to() {
        let message = |panic: Box<dyn std::any::Any + Send>| {
            panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        };
        let outside = catch_unwind(|| Counter::new(0).add(1)).expect_err("outside");
        assert!(message(outside).expect("text").contains("only while a batch is worked on"));
        let other = catch_unwind(|| {
            let _slots = Accumulating::enter(&[]);
            Counter::new(7).add(1);
        });
        assert!(message(other.expect_err("no such slot")).expect("text").contains("belongs to another job"));
        assert!(SLOTS.with_borrow(Option::is_none), "a call that unwinds takes its slots with it");
    }
}
