//! The time that a job's closures may know: the batch's, never a clock's.
//!
//! Every call from outside sets it for as long as it lasts, on its own thread, and takes it back when it returns or unwinds.

use std::cell::Cell;

use crate::bindings::millpond::plugin::types::TaskInfo;
use crate::row::Timestamp;

thread_local! {
    static BATCH_TIME: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// The time of the batch whose rows a closure is working on: the end of its interval. **Units**: microseconds since the Unix
/// epoch, UTC, always whole milliseconds.
///
/// It is the same for all rows of a batch and again when the batch is run again after a failure, so a closure that uses it
/// stays a pure function of its input. Call it inside a closure of an operator, not while the job is put together. In a
/// windowed operator it is the time of the batch in which the closure runs, not of the batch that brought the row; and
/// how often a merge function runs depends on partitions, so it has no business there.
///
/// # Panics
/// Outside of a call for a batch: where the job is put together, in a thread of one's own, in a test that calls a closure by
/// itself.
///
/// ```
/// # millpond::check_job!(|ctx: &mut millpond::StreamingContext| {
/// use millpond::{Timestamp, batch_time};
///
/// ctx.text("lines").map::<(Timestamp, String)>(|line| (batch_time(), line)).sink("stamped");
/// # });
/// ```
#[must_use]
pub fn batch_time() -> Timestamp {
    BATCH_TIME.get().expect(
        "batch_time() is known only while a batch is worked on: call it inside an operator's closure, such as map's, not where the job is put together",
    )
}

/// Sets the batch time until it is dropped.
pub(crate) struct InBatch {
    before: Option<Timestamp>,
}

impl InBatch {
    pub(crate) fn enter(task: &TaskInfo) -> Self {
        Self { before: BATCH_TIME.replace(Some(Timestamp::from_millis(task.batch_time_ms))) }
    }
}

impl Drop for InBatch {
    fn drop(&mut self) {
        BATCH_TIME.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn task(batch_time_ms: i64) -> TaskInfo {
        TaskInfo { batch_time_ms, partition: 0, partitions: 1, attempt: 0 }
    }

    #[test]
    fn a_call_has_its_batchs_time_and_nothing_else_has() {
        {
            let _in_batch = InBatch::enter(&task(1_700_000_000_123));
            assert_eq!(batch_time(), Timestamp(1_700_000_000_123_000));
        }
        let panic = catch_unwind(batch_time).expect_err("outside of a call");
        let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        assert!(message.expect("a message").starts_with("batch_time() is known only while"));
    }

    #[test]
    fn a_call_that_unwinds_takes_its_time_with_it() {
        let unwound = catch_unwind(|| {
            let _in_batch = InBatch::enter(&task(1));
            panic!("a closure's own");
        });
        assert!(unwound.is_err());
        assert_eq!(BATCH_TIME.get(), None);
    }
}
