//! The word that was probably meant: for unknown keys, values, names and codes.

/// The candidate that was probably meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // 0.7 is what clap uses for the same purpose.
    let scored = candidates.into_iter().map(|name| (strsim::jaro(word, name), name)).filter(|(score, _)| *score > 0.7);
    scored.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word() {
        let keys = ["path", "format", "max-files-per-batch", "on-bad-record"];
        assert_eq!(did_you_mean("pth", keys).as_deref(), Some("path"));
        assert_eq!(did_you_mean("max-file-per-batch", keys).as_deref(), Some("max-files-per-batch"));
        assert_eq!(did_you_mean("colour", keys), None);
    }
}
