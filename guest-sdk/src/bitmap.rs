//! A growing bitmap, least significant bit first: booleans, validity, which keys to keep.

/// Bits that can be appended and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    bytes: Vec<u8>,
    len: usize,
}

impl Bitmap {
    /// `len` bits from bytes; `None` unless there are exactly as many bytes as needed.
    pub(crate) fn try_from_bytes(bytes: Vec<u8>, len: usize) -> Option<Self> {
        (bytes.len() == len.div_ceil(8)).then_some(Self { bytes, len })
    }

    /// `len` bits, all set.
    pub(crate) fn all_set(len: usize) -> Self {
        Self { bytes: vec![0xff; len.div_ceil(8)], len }
    }

    /// Bits that are at hand, eight at a time: a tenth of the work of as many `push`.
    pub(crate) fn of(bits: &[bool]) -> Self {
        let (eights, rest) = bits.as_chunks::<8>();
        let mut bytes = Vec::with_capacity(bits.len().div_ceil(8));
        // Each bit moves to its place in the top byte; nothing else gets there.
        let packed =
            |bits: &[bool; 8]| u64::from_le_bytes(bits.map(u8::from)).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bytes.extend(eights.iter().map(|bits| packed(bits) as u8));
        let mut bitmap = Self { bytes, len: eights.len() * 8 };
        rest.iter().for_each(|bit| bitmap.push(*bit));
        bitmap
    }

    /// Appends a bit.
    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        let place = self.len % 8;
        if place == 0 {
            self.bytes.push(u8::from(bit));
        } else if let Some(last) = self.bytes.last_mut() {
            // Bits past the end may be anything in a bitmap that came from outside.
            *last = (*last & !(1 << place)) | (u8::from(bit) << place);
        }
        self.len += 1;
    }

    /// Bit `index`. Panics past the last byte.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> bool {
        self.bytes[index / 8] >> (index % 8) & 1 == 1
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.len = 0;
    }

    /// Whether every bit is set.
    pub(crate) fn is_all_set(&self) -> bool {
        (0..self.len / 8).all(|byte| self.bytes[byte] == 0xff) && (self.len / 8 * 8..self.len).all(|bit| self.get(bit))
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order() {
        let bits: Vec<bool> = (0..21).map(|i| i % 3 == 0).collect();
        let mut bitmap = Bitmap::default();
        bits.iter().for_each(|bit| bitmap.push(*bit));
        assert_eq!(Bitmap::of(&bits), bitmap);
        assert_eq!(bitmap.byte_len(), 3);
        assert_eq!((0..21).map(|i| bitmap.get(i)).collect::<Vec<_>>(), bits);
        assert!(!bitmap.is_all_set());
    }

    #[test]
    fn every_eight_bits_are_packed_in_their_places() {
        for byte in 0..=u8::MAX {
            let bits: Vec<bool> = (0..8).map(|place| byte >> place & 1 == 1).collect();
            assert_eq!(Bitmap::of(&bits).into_bytes(), [byte]);
        }
    }

    #[test]
    fn appending_ignores_stray_bits_past_the_end() {
        let mut bitmap = Bitmap::try_from_bytes(vec![0xff], 3).expect("one byte for three bits");
        bitmap.push(false);
        assert!(!bitmap.get(3));
        assert!(!bitmap.is_all_set());
    }

    #[test]
    fn wrong_length_is_refused() {
        assert!(Bitmap::try_from_bytes(vec![0, 0], 8).is_none());
        assert!(Bitmap::try_from_bytes(vec![], 0).is_some());
        assert!(Bitmap::all_set(9).is_all_set());
    }
}
