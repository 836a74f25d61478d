//! Finds the keys that nothing has touched for a while without looking at all of them.
//!
//! Each key is listed once, under the time at which it was touched when it was listed. Touching it again changes nothing here. When a
//! list is old enough, its keys are looked at: one that was touched meanwhile is listed anew under that time, the others have expired.
//! So a key is looked at once in the time after which it would expire, however often it is touched, and costs 4 bytes and a
//! flag. Made again from the keys' times after a restart.

use std::collections::BTreeMap;

use millpond_core::BatchTime;

/// Slots of keys by the time from which they may have expired.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    lists: BTreeMap<BatchTime, Vec<u32>>,
    /// Of each slot: whether it is in a list. A slot that was freed stays in its list until that is looked at.
    is_listed: Vec<bool>,
    listed: usize,
}

impl Expiry {
    /// Keys were touched at this time, or before the time under which they are listed.
    pub(crate) fn touch(&mut self, slots: impl IntoIterator<Item = u32>, time: BatchTime) {
        let list = self.lists.entry(time).or_default();
        for slot in slots {
            let index = slot as usize;
            if index >= self.is_listed.len() {
                self.is_listed.resize(index + 1, false);
            }
            if !std::mem::replace(&mut self.is_listed[index], true) {
                list.push(slot);
                self.listed += 1;
            }
        }
        if list.is_empty() {
            self.lists.remove(&time);
        }
    }

    /// Takes out the keys that were last touched before `edge`. `touched` says when; `None` = the slot has no key.
    pub(crate) fn expired(&mut self, edge: BatchTime, touched: impl Fn(u32) -> Option<BatchTime>) -> Vec<u32> {
        let mut expired = Vec::new();
        while let Some(first) = self.lists.first_entry().filter(|first| *first.key() < edge) {
            let slots = first.remove();
            // They lie anywhere in memory: all are asked about before any answer is needed.
            let times: Vec<Option<BatchTime>> = slots.iter().map(|slot| touched(*slot)).collect();
            for (slot, touched) in slots.into_iter().zip(times) {
                self.is_listed[slot as usize] = false;
                self.listed -= 1;
                match touched {
                    Some(time) if time < edge => expired.push(slot),
                    // Not before the edge, so that it is not come across again now.
                    Some(time) => self.touch([slot], time),
                    None => {}
                }
            }
        }
        expired
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.listed * 4 + self.is_listed.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Steps: keys that are touched, keys that are removed, and how much later the next step is.
        #[test]
        fn what_expires_is_what_a_look_at_all_keys_would_find(
            timeout in 1u64..6,
            steps in proptest::collection::vec(
                (proptest::collection::vec(0u32..8, 0..4), proptest::collection::vec(0u32..8, 0..2), 1u64..4),
                0..60,
            ),
        ) {
            let (mut expiry, mut touched) = (Expiry::default(), BTreeMap::<u32, BatchTime>::new());
            let mut time = BatchTime(0);
            for (touches, removals, later) in steps {
                time = time.plus_ms(later);
                touches.iter().for_each(|slot| { touched.insert(*slot, time); });
                expiry.touch(touches, time);
                removals.iter().for_each(|slot| { touched.remove(slot); });
                let edge = time.minus_ms(timeout);
                let mut found = expiry.expired(edge, |slot| touched.get(&slot).copied());
                found.sort_unstable();
                let expected: Vec<u32> =
                    touched.iter().filter(|(_, touched)| **touched < edge).map(|(slot, _)| *slot).collect();
                prop_assert_eq!(&found, &expected);
                found.iter().for_each(|slot| { touched.remove(slot); });
                prop_assert!(expiry.listed <= 8);
            }
        }
    }
}
