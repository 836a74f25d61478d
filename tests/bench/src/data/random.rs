//! Numbers that look random and are the same on every machine: SplitMix64, and draws by popularity (Zipf) in constant time.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014); Vose, "A linear algorithm for
//! generating random numbers with a given distribution" (1991).

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts at a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is more than 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The high half of a product instead of a remainder: no division. The bias is below 2^-32 for what is drawn here.
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number of `first..=last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
}

/// Draws a rank with a probability in proportion to `1 / (rank + 1)^exponent`, by Vose's alias method.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// For each rank: below which of 2^32 the rank itself is taken, and what is taken otherwise.
    slots: Vec<(u32, u32)>,
}

impl Zipf {
    /// Ranks `0..count`; `count` is from 1 to 2^32 - 1.
    pub(crate) fn new(count: usize, exponent: f64) -> Self {
        let weights: Vec<f64> = (0..count).map(|rank| (rank as f64 + 1.0).powf(-exponent)).collect();
        let total: f64 = weights.iter().sum();
        let mut share: Vec<f64> = weights.iter().map(|weight| weight / total * count as f64).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..count).partition(|rank| share[*rank] < 1.0);
        let mut slots: Vec<(u32, u32)> = (0..count).map(|rank| (u32::MAX, rank as u32)).collect();
        while let (Some(little), Some(much)) = (small.pop(), large.last().copied()) {
            slots[little] = ((share[little] * 4_294_967_296.0) as u32, much as u32);
            share[much] -= 1.0 - share[little];
            if share[much] < 1.0 {
                large.pop();
                small.push(much);
            }
        }
        Self { slots }
    }

    /// A rank.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.bits();
        let rank = ((u64::from(bits as u32) * self.slots.len() as u64) >> 32) as usize;
        let (own, other) = self.slots[rank];
        if ((bits >> 32) as u32) < own { rank } else { other as usize }
    }
}

/// Different text for different numbers: digits and letters, in an order that shows no pattern, of several lengths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    /// What each begins with.
    pub prefix: u8,
    /// The fewest characters after the prefix. `36^shortest` is at least the part of the ids that has it.
    pub shortest: u32,
    /// How many lengths there are, each for as many ids.
    pub lengths: u32,
}

impl Ids {
    /// Appends the id of a number.
    pub(crate) fn write(self, number: u64, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let lengths = u64::from(self.lengths);
        let length = self.shortest + (number % lengths) as u32;
        let space = 36_u64.pow(length);
        // A product with a number that shares no factor with 36 maps the space onto itself, so no two meet.
        let mut rest = ((u128::from(number / lengths) * 0x9E37_79B9_7F4A_7C15 + 11) % u128::from(space)) as u64;
        out.push(self.prefix);
        for _ in 0..length {
            out.push(DIGITS[(rest % 36) as usize]);
            rest /= 36;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_paper() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut random = Random::new(7);
        let drawn: HashSet<u64> = (0..1000).map(|_| random.between(2, 5)).collect();
        assert_eq!(drawn, HashSet::from([2, 3, 4, 5]));
    }

    #[test]
    fn ranks_come_as_often_as_zipf_says() {
        let zipf = Zipf::new(1000, 1.0);
        let mut random = Random::new(1);
        let mut counts = vec![0_u32; 1000];
        (0..1_000_000).for_each(|_| counts[zipf.draw(&mut random)] += 1);
        let harmonic: f64 = (1..=1000).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [0, 1, 9, 99] {
            let expected = 1_000_000.0 / harmonic / (rank as f64 + 1.0);
            let off = (f64::from(counts[rank]) - expected).abs() / expected;
            assert!(off < 0.05, "rank {rank}: {} drawn, {expected} expected", counts[rank]);
        }
    }

    #[test]
    fn ids_differ_and_have_several_lengths() {
        let ids = Ids { prefix: b'v', shortest: 3, lengths: 4 };
        let mut seen = HashSet::new();
        for number in 0..100_000 {
            let mut id = Vec::new();
            ids.write(number, &mut id);
            assert!((4..=7).contains(&id.len()) && id[0] == b'v');
            assert!(seen.insert(id), "{number} has the id of another");
        }
    }
}
