//! Reading the log: the commits from a given one on, and the verdict on what cannot be read.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::path::Path;

use super::{Segment, segments};
use crate::codec::Damage;
use crate::error::{Error, Result};
use crate::record::{self, Commit, HEADER_BYTES, Header, MAGIC};

/// Where reading the log ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplayEnd {
    /// The newest commit that was seen, wanted or not; `None` = the log is empty.
    pub(crate) last: Option<u64>,
    /// What had to be cut off, in words.
    pub(crate) cut: Option<String>,
}

/// Gives the commits from `from` on to `visit`, each with the bytes that it takes in the log.
///
/// With `to`, reading stops behind that commit, and it must be there: it was written by this very process. Without, the log
/// is read to its end, and a torn tail is cut off. `visit` may stop early.
pub(crate) fn replay(
    dir: &Path,
    from: u64,
    to: Option<u64>,
    visit: &mut dyn FnMut(Commit, u64) -> Result<ControlFlow<()>>,
) -> Result<ReplayEnd> {
    let all = segments(dir)?;
    let begin = all.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let wanted = &all[begin.min(all.len())..];
    if let Some(first) = wanted.first().filter(|first| first.first > from) {
        let reason = format!("commits {from} to {} are missing before it", first.first - 1);
        return Err(Error::LogDamaged { path: first.path.clone(), offset: 0, reason });
    }
    let mut scan = Scan { from, to, end: ReplayEnd::default(), visit };
    for (at, segment) in wanted.iter().enumerate() {
        if scan.segment(segment, &wanted[at + 1..])?.is_break() {
            return Ok(scan.end);
        }
    }
    match to {
        Some(to) if scan.end.last.is_none_or(|last| last < to) => Err(Error::LogDamaged {
            path: dir.to_owned(),
            offset: 0,
            reason: format!("commit {to} was written and is not there any more"),
        }),
        _ => Ok(scan.end),
    }
}

struct Scan<'a> {
    from: u64,
    to: Option<u64>,
    end: ReplayEnd,
    visit: &'a mut dyn FnMut(Commit, u64) -> Result<ControlFlow<()>>,
}

impl Scan<'_> {
    fn segment(&mut self, segment: &Segment, later: &[Segment]) -> Result<ControlFlow<()>> {
        let bytes = read(&segment.path)?;
        let mut at = 0;
        while at < bytes.len() {
            let read = Header::decode(&bytes[at..]).and_then(|header| Ok((header, header.payload(&bytes[at..])?)));
            let (header, payload) = match read {
                Ok(read) => read,
                Err(damage) => {
                    self.unreadable(segment, &bytes, at, &damage, later)?;
                    return Ok(ControlFlow::Break(()));
                }
            };
            self.check(segment, at, &header)?;
            self.end.last = Some(header.epoch);
            let taken = HEADER_BYTES + payload.len();
            if header.epoch >= self.from {
                let commit = record::decode(&header, payload);
                let commit = commit.map_err(|Damage(reason)| damaged(segment, at, reason))?;
                if (self.visit)(commit, taken as u64)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if self.to == Some(header.epoch) {
                return Ok(ControlFlow::Break(()));
            }
            at += taken;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn check(&self, segment: &Segment, at: usize, header: &Header) -> Result<()> {
        if header.version != record::VERSION {
            let (found, expected) = (u32::from(header.version), u32::from(record::VERSION));
            return Err(Error::Version { path: segment.path.clone(), found, expected });
        }
        let expected = self.end.last.map_or(segment.first, |last| last + 1);
        if header.epoch != expected {
            return Err(damaged(
                segment,
                at,
                format!("commit {} stands where commit {expected} belongs", header.epoch),
            ));
        }
        Ok(())
    }

    /// A torn tail is cut, anything else refused.
    fn unreadable(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        at: usize,
        damage: &Damage,
        later: &[Segment],
    ) -> Result<()> {
        // Where the header is whole its record is passed over: what rows hold must never be taken for a record.
        let behind = Header::decode(&bytes[at..]).map_or(1, |header| header.length.saturating_add(HEADER_BYTES as u64));
        let behind = usize::try_from(behind).ok().and_then(|behind| bytes[at..].get(behind..));
        let follows = behind.is_some_and(valid_record_behind);
        let follows = follows
            || later.iter().try_fold(false, |any, segment| Ok(any || valid_record_behind(&read(&segment.path)?)))?;
        if follows {
            return Err(damaged(segment, at, format!("{damage}, and valid commits follow")));
        }
        if self.to.is_some() {
            return Err(damaged(segment, at, damage.to_string()));
        }
        cut(&segment.path, at as u64).map_err(Error::open("cut the torn tail of", &segment.path))?;
        for segment in later {
            fs::remove_file(&segment.path).map_err(Error::open("remove", &segment.path))?;
        }
        let torn = bytes.len() - at;
        let path = segment.path.display();
        self.end.cut = Some(format!("{torn} bytes of an unfinished commit were cut off the end of {path} ({damage})"));
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::LogRead { path: path.to_owned(), source })
}

fn damaged(segment: &Segment, at: usize, reason: String) -> Error {
    Error::LogDamaged { path: segment.path.clone(), offset: at as u64, reason }
}

fn cut(path: &Path, length: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// Whether a whole record begins anywhere in `bytes`.
fn valid_record_behind(bytes: &[u8]) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| **window == MAGIC);
    starts.map(|(at, _)| &bytes[at..]).any(|rest| Header::decode(rest).is_ok_and(|header| header.payload(rest).is_ok()))
}
