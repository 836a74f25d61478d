//! Small binary framing shared by the log, the checkpoint store and the snapshots: little-endian integers, and byte
//! strings behind a 32-bit length.
//!
//! Reading never trusts a length: whatever does not fit is a [`Damage`] with the reason, to which the caller adds the place.

use std::fmt;

/// Why bytes could not be understood; the caller knows where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Damage {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A count. More than 2^32 things in one record cannot be: each takes at least four bytes of memory.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("fewer than 2^32 entries in one commit"));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends what `write` appends, behind its length as 64 bits.
pub(crate) fn put_framed<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let at = out.len();
    put_u64(out, 0);
    write(out)?;
    let length = (out.len() - at - 8) as u64;
    out[at..at + 8].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads what the `put_` functions wrote.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| Damage(format!("{length} bytes were expected and {} are left", self.rest.len())))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as were asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Damage> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(crate) fn framed(&mut self) -> Result<&'a [u8], Damage> {
        let length = self.u64()?;
        let length = usize::try_from(length).map_err(|_| Damage(format!("a length of {length} bytes")))?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Damage> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Damage::new("a name that is not UTF-8"))
    }

    /// Checks that everything was read.
    pub(crate) fn end(&self) -> Result<(), Damage> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Damage(format!("{left} bytes too many"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_is_read(number: u32, long: i64, bytes: Vec<u8>, framed: Vec<u8>, name: String) {
            let mut out = Vec::new();
            put_u32(&mut out, number);
            put_i64(&mut out, long);
            put_bytes(&mut out, &bytes);
            put_framed(&mut out, |out| { out.extend_from_slice(&framed); Ok::<(), Damage>(()) }).unwrap();
            put_bytes(&mut out, name.as_bytes());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u32().unwrap(), number);
            prop_assert_eq!(reader.i64().unwrap(), long);
            prop_assert_eq!(reader.bytes().unwrap(), &bytes[..]);
            prop_assert_eq!(reader.framed().unwrap(), &framed[..]);
            prop_assert_eq!(reader.text().unwrap(), name);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn reading_garbage_never_panics(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.bytes().is_ok() && reader.framed().is_ok() && reader.text().is_ok() {}
        }
    }

    #[test]
    fn bytes_left_over_are_damage() {
        assert_eq!(Reader::new(b"ab").end(), Err(Damage::new("2 bytes too many")));
    }
}
