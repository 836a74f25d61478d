//! Threads that meet after every batch.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a thread looks whether the others have come before it lets them have its core.
const LOOKS: u32 = 1_000;

/// A meeting of a few threads that are at work all the time: it waits by looking, because sleeping and waking would cost more than the wait.
pub(super) struct Meeting {
    members: usize,
    come: AtomicUsize,
    round: AtomicUsize,
}

impl Meeting {
    pub(super) fn new(members: usize) -> Self {
        Self { members, come: AtomicUsize::new(0), round: AtomicUsize::new(0) }
    }

    /// Waits until all are here.
    pub(super) fn wait(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.come.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.come.store(0, Ordering::Release);
            self.round.store(round + 1, Ordering::Release);
            return;
        }
        let mut looks = 0;
        while self.round.load(Ordering::Acquire) == round {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}
