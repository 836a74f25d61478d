//! What an option may be, in the words of the job file: the deserializer speaks of `u16` and variants.

use serde_json::Value;

/// What each key takes, for "must be ...". Keys that several connectors have mean the same in all.
const EXPECTED: &[(&str, &str)] = &[
    ("path", "text, such as \"data\""),
    ("host", "text, such as \"localhost\""),
    ("port", "a whole number from 1 to 65535"),
    ("rows", "a whole number of at least 0 (0 = all)"),
    ("truncate", "a whole number of at least 0 (0 = all)"),
    ("max-files-per-batch", "a whole number of at least 1"),
    ("max-bytes-per-batch", "a size such as \"64MiB\", or a number of bytes"),
    ("line-bytes-max", "a size such as \"1MiB\", or a number of bytes"),
    ("buffer-bytes", "a size such as \"16MiB\", or a number of bytes"),
    ("retry-min", "a duration with its unit, such as \"500ms\" or \"10s\""),
    ("retry-max", "a duration with its unit, such as \"500ms\" or \"10s\""),
    ("delimiter", "one character as text, such as \",\" or \"\\t\""),
    ("new-files-only", "true or false"),
    ("follow", "true or false"),
    ("header", "true or false"),
    ("multiline", "true or false"),
    ("reconnect", "true or false"),
    ("batch-time", "true or false"),
    ("rows-per-second", "a whole number of at least 1"),
    ("max-rows", "a whole number of at least 0"),
    ("max-rows-per-batch", "a whole number of at least 1"),
    ("seed", "a whole number of at least 0"),
    ("keys", "a whole number of at least 1"),
    ("words", "a whole number from 1 to 1000"),
    ("sequence", "the name of a column, such as \"number\""),
];

/// Keys that take one of some words.
const CHOICES: &[(&str, &[&str])] = &[
    ("mode", &["append", "update", "complete"]),
    ("format", &["text", "csv", "json", "jsonl", "ndjson"]),
    ("on-bad-record", &["skip", "fail"]),
];

/// A line of the job file, for required keys.
const EXAMPLES: &[(&str, &str)] =
    &[("path", "path = \"data\""), ("host", "host = \"localhost\""), ("port", "port = 9999")];

/// What to say when a key is not there and must be.
pub(crate) fn missing(key: &str) -> String {
    match EXAMPLES.iter().find(|(known, _)| *known == key) {
        Some((_, example)) => format!("the key `{key}` is missing: add it, such as {example}"),
        None => format!("the key `{key}` is missing: add it"),
    }
}

/// What to say when a key's value is of the wrong kind; `None` for a key without a word of its own.
pub(crate) fn wrong(key: &str, value: &Value) -> Option<String> {
    if let Some((_, choices)) = CHOICES.iter().find(|(known, _)| *known == key) {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
        let nearest = value.as_str().and_then(|text| nearest(text, choices));
        let hint = nearest.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        return Some(format!("{value} is not allowed: it must be one of {}{hint}", quoted.join(", ")));
    }
    let (_, expected) = EXPECTED.iter().find(|(known, _)| *known == key)?;
    Some(format!("{value} is not allowed: it must be {expected}"))
}

/// The word that was probably meant.
fn nearest<'a>(text: &str, choices: &[&'a str]) -> Option<&'a str> {
    let text = text.to_lowercase();
    let near = choices.iter().map(|choice| (distance(&text, choice), *choice)).min()?;
    // A word with more wrong than a third of it is another word.
    (near.0 * 3 <= near.1.len().max(3)).then_some(near.1)
}

/// How many letters to add, drop or change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, letter) in left.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in right.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_that_is_nearly_right_is_offered() {
        for (typed, meant) in [("apend", "append"), ("Complete", "complete"), ("updates", "update")] {
            let message = wrong("mode", &json!(typed)).unwrap();
            assert!(message.ends_with(&format!("did you mean \"{meant}\"?")), "{message}");
        }
        let message = wrong("mode", &json!("sometimes")).unwrap();
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn letters_are_counted() {
        for (left, right, count) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(left, right), count, "{left} {right}");
        }
    }
}
