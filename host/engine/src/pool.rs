//! The threads that tasks run on, shared by all jobs of a process.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// A fixed set of compute threads, for work that can be shared out, a task a partition: decoding, user code, shuffles, keyed
/// state. A task that is alone runs on its job's thread (on one of the pool's, if it is of a batch that is begun ahead), and so does what is done for a batch as a whole (sorting, finding
/// what changed for a sink in mode `update`). Output and commits are encoded on the job's thread or its output thread.
#[derive(Debug)]
pub struct ComputePool {
    pool: rayon::ThreadPool,
}

impl ComputePool {
    /// Starts so many threads (at least one).
    ///
    /// # Errors
    /// `Pool` when the operating system gives no threads.
    pub fn try_new(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("millpond-compute-{index}"))
            .build()
            .map_err(|error| Error::Pool { threads, reason: error.to_string() })?;
        Ok(Self { pool })
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs work some time, beside what else there is.
    pub(crate) fn start(&self, work: impl FnOnce() + Send + 'static) {
        self.pool.spawn(work);
    }

    /// Runs one task per item and gives the answers in the items' order, or one of the errors. A single item runs on the
    /// caller's thread, as there is nothing to share out.
    pub(crate) fn run<T, U, F>(&self, items: Vec<T>, task: F) -> Result<Vec<U>>
    where
        T: Send,
        U: Send,
        F: Fn(T) -> Result<U> + Send + Sync,
    {
        if items.len() <= 1 {
            return items.into_iter().map(task).collect();
        }
        // Items are coarse (a partition each): never put two of them into one job.
        self.pool.install(|| items.into_par_iter().with_max_len(1).map(task).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        let pool = ComputePool::try_new(3).unwrap();
        let answers = pool.run((0..100).collect(), |item: i32| Ok(item * 2)).unwrap();
        assert_eq!(answers, (0..100).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn no_item_is_no_answer() {
        let pool = ComputePool::try_new(1).unwrap();
        assert!(pool.run(Vec::<i32>::new(), Ok).unwrap().is_empty());
    }
}
