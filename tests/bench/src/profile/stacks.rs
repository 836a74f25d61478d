//! What `perf script` prints, as a tree of functions with how often each was seen.

use std::collections::BTreeMap;

/// The samples of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// All samples, by thread name, then by function from the outermost in.
    pub(crate) root: Frame,
    /// How many.
    pub(crate) samples: u64,
    /// Of those, how many were in a function without a name.
    pub(crate) unknown: u64,
    /// The number of the process.
    pub(crate) process: Option<u32>,
}

/// A function, under the functions that called it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Samples in it and in what it called.
    pub(crate) samples: u64,
    /// What it called.
    pub(crate) callees: BTreeMap<String, Frame>,
}

impl Frame {
    fn add<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.samples += 1;
        let mut frame = self;
        for name in names {
            frame = frame.callees.entry(name.to_owned()).or_default();
            frame.samples += 1;
        }
    }
}

pub(crate) const UNKNOWN: &str = "[unknown]";
/// Before the name of a plugin's function.
pub(crate) const GUEST: &str = "guest: ";
/// Before the name of a function of the kernel.
pub(crate) const KERNEL: &str = "kernel: ";
/// Stands for the callers of a plugin's function, which `perf` does not see.
const CALLERS: &str = "guest code (perf does not see what called it)";

/// Reads the samples of the first process: a line with the thread, then its stack, the innermost function first, then an empty line.
pub(crate) fn parse(text: &str) -> Profile {
    let mut profile = Profile::default();
    for sample in text.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some((thread, pid)) = lines.next().and_then(thread) else { continue };
        // What the program starts itself (a build, say) is another matter.
        if *profile.process.get_or_insert(pid) != pid {
            continue;
        }
        let mut names: Vec<String> = lines.filter_map(name).collect();
        profile.samples += 1;
        profile.unknown += u64::from(names.first().is_none_or(|name| name == UNKNOWN));
        // Several unknown frames in a row say no more than one.
        names.dedup_by(|one, other| one == other && one == UNKNOWN);
        let callers = names.last().filter(|outermost| outermost.starts_with(GUEST)).map(|_| CALLERS);
        profile.root.add(std::iter::once(thread).chain(callers).chain(names.iter().rev().map(String::as_str)));
    }
    profile
}

/// `NAME PID/TID`; the name may have spaces in it.
fn thread(line: &str) -> Option<(&str, u32)> {
    let (name, numbers) = line.trim().rsplit_once(' ')?;
    Some((name.trim(), numbers.split('/').next()?.parse().ok()?))
}

/// `ADDRESS NAME (FILE)`, without what makes names of one function differ, and with where it is when that is not the program.
fn name(line: &str) -> Option<String> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, file) = rest.rsplit_once(" (")?;
    let name = without_hashes(name);
    Some(match file {
        _ if name == UNKNOWN => name,
        // Of all code, only what wasmtime made has its names in a map.
        file if file.starts_with("/tmp/perf-") => format!("{GUEST}{name}"),
        file if file.starts_with("[kernel") => format!("{KERNEL}{name}"),
        _ => name,
    })
}

/// `std[a543996e6e7dbf1e]::f` and `f::h067d6d5264d87be5` as `std::f` and `f`.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.rsplit_once("::h").filter(|(_, hash)| is_hash(hash)).map_or(name, |(name, _)| name);
    let mut parts = name.split('[');
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']').filter(|(hash, _)| is_hash(hash)) {
            Some((_, rest)) => clean.push_str(rest),
            None => {
                clean.push('[');
                clean.push_str(part);
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
millpond comput 10/12 
\t 7f01 inner::h0123456789abcdef (/bin/millpond)
\t 7f02 outer (/bin/millpond)

millpond comput 10/13 
\t 7f02 outer (/bin/millpond)

cargo 20/20 
\t 7f02 main (/bin/cargo)

millpond comput 10/13 
\t 7f03 a<(u8, u8)>::h0123456789abcdef (/tmp/perf-10.map)

millpond 10/10 
\tffff [unknown] ([unknown])
\tfffe [unknown] ([unknown])
\tfffd read ([kernel.kallsyms])
\t 7f02 main (/bin/millpond)

";

    #[test]
    fn samples_are_counted_from_the_outermost_function() {
        let profile = parse(TEXT);
        assert_eq!((profile.samples, profile.unknown), (4, 1));
        assert_eq!(profile.process, Some(10));
        assert!(!profile.root.callees.contains_key("cargo"));
        let compute = &profile.root.callees["millpond comput"];
        assert_eq!((compute.samples, compute.callees["outer"].samples), (3, 2));
        assert_eq!(compute.callees["outer"].callees["inner"].samples, 1);
        let main = &profile.root.callees["millpond"].callees["main"];
        let read = &main.callees["kernel: read"];
        assert_eq!(read.callees[UNKNOWN], Frame { samples: 1, callees: BTreeMap::new() });
    }

    #[test]
    fn code_of_guests_is_marked_and_has_a_place() {
        let profile = parse(TEXT);
        let compute = &profile.root.callees["millpond comput"];
        assert_eq!(compute.callees[CALLERS].callees["guest: a<(u8, u8)>"].samples, 1);
    }

    #[test]
    fn names_lose_their_hashes_only() {
        assert_eq!(without_hashes("std[a543996e6e7dbf1e]::f::<[u8]>"), "std::f::<[u8]>");
        assert_eq!(without_hashes("<[T] as bench::f>::g::h067d6d5264d87be5"), "<[T] as bench::f>::g");
    }

    #[test]
    fn nothing_is_no_profile() {
        assert_eq!(parse(""), Profile::default());
    }
}
