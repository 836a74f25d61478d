//! Where the slots of keys are: from the hash of a key to its slot, by groups of eight.
//!
//! ```text
//! entry, 32 bits   some bits of the hash, as many as the slot leaves | slot + 1; 0 = vacant
//! ```
//! A key is in the group that the upper half of its hash says, or, if that was full, in the next one that was not. All entries of a group are
//! compared at once, so that no branch depends on where in it a key is; wrong keys are passed over without a look at their bytes.
//! Entries are small, as they are read at random, and as memory is new whenever a table grows: a key takes 5 to 10 bytes.

/// Entries of a group, which is half a cache line.
const GROUP: usize = 8;

/// Fewest groups of a table that has a key.
const GROUPS_MIN: usize = 8;

/// Keys that are put into a larger table side by side.
const PUT_AT_ONCE: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
struct Group {
    entries: [u32; GROUP],
}

/// Slots by hash.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// As many as a power of two, or none.
    groups: Vec<Group>,
}

impl Places {
    /// So many keys have room.
    pub(super) fn with_room_for(keys: usize) -> Self {
        Self::of((keys * 5 / (4 * GROUP) + 1).next_power_of_two().max(GROUPS_MIN))
    }

    fn of(groups: usize) -> Self {
        Self { groups: vec![Group::default(); groups] }
    }

    /// Whether so many keys may be in it: four fifths of the entries, so that no more than one key in twelve is not in its first group.
    pub(super) fn has_room_for(&self, keys: usize) -> bool {
        keys * 5 <= self.groups.len() * GROUP * 4
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }

    /// The bits of an entry that are the slot's. There are fewer slots than entries.
    #[inline]
    fn slot_mask(&self) -> u32 {
        (self.groups.len() * GROUP).wrapping_sub(1) as u32
    }

    /// The groups where keys with these hashes are looked for first. Touches each of them and does nothing else, so that the memory works on
    /// as many as it can at once.
    #[inline]
    pub(super) fn touch<const N: usize>(&self, hashes: impl Iterator<Item = u64>) -> [usize; N] {
        let (mut homes, mut touched) = ([0; N], 0);
        for (at, hash) in homes.iter_mut().zip(hashes) {
            *at = home(hash, self.groups.len());
            touched |= self.groups.get(*at).map_or(0, |group| group.entries[0]);
        }
        std::hint::black_box(touched);
        homes
    }

    /// The slot that a key with this hash most likely has; may be that of another key, or none. Looks only at the group where the key is looked
    /// for first.
    #[inline]
    pub(super) fn guess(&self, home: usize, hash: u64) -> u32 {
        let mask = self.slot_mask();
        let Some(group) = self.groups.get(home) else { return u32::MAX };
        let places = group.places_of(hash as u32 & !mask, !mask);
        // Of a vacant entry, too, this is no slot.
        let slot = (group.entries[first(places)] & mask).wrapping_sub(1);
        if places == 0 { u32::MAX } else { slot }
    }

    /// The slot of a key with this hash for which `is_it` holds, or the place where one would be put.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Result<u32, usize> {
        let mask = self.slot_mask();
        if self.groups.is_empty() {
            return Err(0);
        }
        let mut at = home(hash, self.groups.len());
        loop {
            let group = &self.groups[at];
            let vacant = group.places_of(0, u32::MAX);
            let mut places = group.places_of(hash as u32 & !mask, !mask) & !vacant;
            while places != 0 {
                let slot = (group.entries[first(places)] & mask).wrapping_sub(1);
                if is_it(slot) {
                    return Ok(slot);
                }
                places &= places - 1;
            }
            if vacant != 0 {
                return Err(at * GROUP + first(vacant));
            }
            at = self.next(at);
        }
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.groups.len() - 1)
    }

    /// Puts a slot at a place that `find` gave.
    #[inline]
    pub(super) fn put(&mut self, place: usize, hash: u64, slot: u32) {
        let mask = self.slot_mask();
        self.groups[place / GROUP].entries[place % GROUP] = hash as u32 & !mask | (slot + 1);
    }

    /// Twice as many, for these keys: slots and hashes.
    pub(super) fn twice(&self, keys: impl Iterator<Item = (u32, u64)>) -> Self {
        let mut places = Self::of((self.groups.len() * 2).max(GROUPS_MIN));
        // Hashes of some, and only then their places, so that the memory works on several at once.
        let mut some = [(0, 0); PUT_AT_ONCE];
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let mut count = 0;
            for (one, key) in some.iter_mut().zip(&mut keys) {
                *one = key;
                count += 1;
            }
            places.touch::<PUT_AT_ONCE>(some[..count].iter().map(|(_, hash)| *hash));
            for (slot, hash) in &some[..count] {
                let place = places.vacancy(*hash);
                places.put(place, *hash, *slot);
            }
        }
        places
    }

    /// Where a key is put that is not there.
    #[inline]
    fn vacancy(&self, hash: u64) -> usize {
        let mut at = home(hash, self.groups.len());
        loop {
            let vacant = self.groups[at].places_of(0, u32::MAX);
            if vacant != 0 {
                return at * GROUP + first(vacant);
            }
            at = self.next(at);
        }
    }

    /// Removes a slot. If its group was full, keys that were put into later ones because of that move up, so that no search stops too
    /// early; `hash_of` tells their hashes.
    pub(super) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let mask = self.slot_mask();
        let count = self.groups.len();
        let mut hole = home(hash, count);
        let place = loop {
            let found = self.groups[hole].places_of(slot + 1, mask);
            if found != 0 {
                break first(found);
            }
            assert!(self.groups[hole].places_of(0, u32::MAX) == 0, "a key has a place from its home on");
            hole = self.next(hole);
        };
        let mut was_full = self.groups[hole].places_of(0, u32::MAX) == 0;
        self.groups[hole].entries[place] = 0;
        let mut place = place;
        let mut at = hole;
        while was_full {
            at = self.next(at);
            if at == hole {
                return;
            }
            let group = self.groups[at];
            // One that may move: its home is not between the hole and where it is.
            let way = at.wrapping_sub(hole) & (count - 1);
            let moves = group.entries.iter().position(|entry| {
                *entry != 0 && at.wrapping_sub(home(hash_of((entry & mask) - 1), count)) & (count - 1) >= way
            });
            let is_full = group.places_of(0, u32::MAX) == 0;
            if let Some(from) = moves {
                self.groups[hole].entries[place] = group.entries[from];
                self.groups[at].entries[from] = 0;
                (hole, place) = (at, from);
            }
            was_full = is_full;
        }
    }

    /// How many groups are passed on the way to the key that is farthest from where it is looked for first.
    #[cfg(test)]
    pub(super) fn longest_way(&self, hash_of: impl Fn(u32) -> u64) -> usize {
        let (mask, count) = (self.slot_mask(), self.groups.len());
        let entries = self.groups.iter().enumerate().flat_map(|(at, group)| group.entries.map(|entry| (at, entry)));
        let way = |(at, entry): (usize, u32)| at.wrapping_sub(home(hash_of((entry & mask) - 1), count)) & (count - 1);
        entries.filter(|(_, entry)| *entry != 0).map(way).max().unwrap_or(0)
    }
}

impl Group {
    /// The entries that are this under a mask: of each byte the top bit. Compilers make vector code of it.
    #[inline]
    fn places_of(&self, wanted: u32, mask: u32) -> u64 {
        u64::from_le_bytes(self.entries.map(|entry| if entry & mask == wanted { 0x80 } else { 0 }))
    }
}

/// The first of such places.
#[inline]
fn first(places: u64) -> usize {
    places.trailing_zeros() as usize / 8 % GROUP
}

/// The group where a key is looked for first: by the upper half of its hash.
///
/// Not by the lower half: the checkpoint store keeps keys in the order of those bits, and recovery brings them in that order. Keys
/// would crowd into one corner of a table that is still growing. And mixed, as the top bits are those that chose the partition.
#[inline]
fn home(hash: u64, groups: usize) -> usize {
    ((hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & groups.wrapping_sub(1)
}
