//! Millpond's answers in the form in which the native programs write theirs: a `key<TAB>value` line a row, an empty line after
//! each batch.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What the console sink printed.
///
/// # Errors
///
/// The text is not the console sink's, or rows were left out.
pub(crate) fn of_console(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    // Header lines stand between the top of a table and the line under the header.
    let mut is_in_rows = false;
    for line in text.lines() {
        match line.chars().next() {
            Some('├') => is_in_rows = true,
            Some('└') => {
                is_in_rows = false;
                out.push(b'\n');
            }
            Some('│') if is_in_rows => {
                let cells = line.strip_prefix('│').and_then(|line| line.strip_suffix('│'));
                let cells = cells.with_context(|| format!("a row without its border: {line}"))?;
                let cells: Vec<&str> = cells.split('│').map(|cell| cell.trim_matches(' ')).collect();
                out.extend_from_slice(cells.join("\t").as_bytes());
                out.push(b'\n');
            }
            Some('│' | '┌' | 'B') | None => {}
            _ => bail!("the console sink does not print this whole: {line}"),
        }
    }
    Ok(out)
}

/// What the files sink wrote, format text.
///
/// # Errors
///
/// The folder cannot be read, or has files that are not the sink's.
pub(crate) fn of_folder(dir: &Path) -> Result<Vec<u8>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let place = place(&name).with_context(|| format!("{} is not a part file", path.display()))?;
        parts.push((place, path));
    }
    parts.sort_unstable();
    let mut out = Vec::new();
    for (index, ((batch, _), path)) in parts.iter().enumerate() {
        out.extend(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        if parts.get(index + 1).is_none_or(|((next, _), _)| next != batch) {
            out.push(b'\n');
        }
    }
    Ok(out)
}

/// Batch time and partition of `<batch time>-part-<partition>.txt`.
fn place(name: &str) -> Option<(u64, u64)> {
    let (batch, partition) = name.strip_suffix(".txt")?.split_once("-part-")?;
    Some((batch.parse().ok()?, partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_lines() {
        let text = "\
Batch 2023-11-14T22:13:20.000Z
┌───────┬───────┐
│ word  │ count │
├───────┼───────┤
│ hello │     2 │
│       │     1 │
└───────┴───────┘

Batch 2023-11-14T22:13:20.500Z
┌──────┬───────┐
│ word │ count │
├──────┼───────┤
└──────┴───────┘

";
        assert_eq!(String::from_utf8(of_console(text).unwrap()).unwrap(), "hello\t2\n\t1\n\n\n");
    }

    #[test]
    fn rows_that_were_left_out_are_an_error() {
        let text = "├─┤\n│ a │ 1 │\n└─┘\n... and 5 more rows\n";
        assert!(of_console(text).unwrap_err().to_string().contains("and 5 more rows"));
    }

    #[test]
    fn part_files_are_put_together_by_batch_and_partition() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("1000-part-0.txt", "a\t1\n"),
            ("1000-part-10.txt", "c\t3\n"),
            ("1000-part-2.txt", "b\t2\n"),
            ("900-part-0.txt", ""),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(of_folder(dir.path()).unwrap(), b"\na\t1\nb\t2\nc\t3\n\n");
        fs::write(dir.path().join("other.txt"), "").unwrap();
        assert!(of_folder(dir.path()).is_err());
    }
}
