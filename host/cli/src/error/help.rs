//! The remedies: what is printed on the lines of help below an error of the command line.

use super::Error;
use crate::job_file::Place;

impl Error {
    /// Whether a page explains it; what is wrong with a question for a page has none.
    #[must_use]
    pub fn has_page(&self) -> bool {
        !matches!(self, Self::NoSuchCode { .. })
    }

    /// What to do about it; one sentence a line. Empty when the message says it all.
    #[must_use]
    pub fn help(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => vec!["give a folder with a millpond.toml, or the path of such a file".to_owned()],
            Self::NoFolder { .. } => {
                vec!["give the folder of the plugin's crate: the one with its Cargo.toml".to_owned()]
            }
            Self::MissingKey { table, key, allowed, .. } => {
                let mut help = vec![format!("add `{key} = ...` to [{table}]")];
                help.extend((!allowed.is_empty()).then(|| format!("allowed: {allowed}")));
                help
            }
            Self::OutputIsInput { .. } => {
                vec![
                    "give the sink a folder of its own, or the source a pattern that leaves the sink's files out"
                        .to_owned(),
                ]
            }
            Self::NoJobFile { .. } => {
                vec!["a job is a folder with a millpond.toml in it: write one, or give the right folder".to_owned()]
            }
            Self::NotAJob { remedy, .. } | Self::BadCase { remedy, .. } | Self::CannotMake { remedy, .. } => {
                vec![remedy.clone()]
            }
            Self::NoCases { known, .. } if known.is_empty() => {
                vec!["make a folder there with input (1.lines.txt), then run `millpond test --bless`".to_owned()]
            }
            Self::NoCases { known, .. } => vec![format!("the cases are: {}", known.join(", "))],
            Self::CasesFailed { .. } => {
                vec!["if what came is right, `millpond test --bless` writes it to the expected files".to_owned()]
            }
            Self::CannotWatch { .. } => vec!["run the job by hand instead: millpond run DIR --fresh".to_owned()],
            Self::UnknownKey { owner, known, .. } if known.is_empty() => vec![format!("{owner} no keys")],
            Self::UnknownKey { owner, known, .. } => vec![format!("{owner} {}", known.join(", "))],
            Self::WrongValue { place, allowed, .. } => wrong_value_help(place, allowed),
            Self::NotDefined { kind, name, suggestion: None, .. } => {
                vec![format!("add a table [{kind}s.{}]", toml_key(name))]
            }
            Self::NotDefined { kind, name, suggestion: Some(_), .. } => {
                vec![format!("rename the table to [{kind}s.{}], or add one of that name", toml_key(name))]
            }
            Self::NotInPlan { kind, known, .. } if known.is_empty() => {
                vec![format!("remove the table: the plan uses no {kind}")]
            }
            Self::NotInPlan { kind, known, .. } => {
                vec![format!("remove the table, or give it a {kind}'s name of the plan: {}", known.join(", "))]
            }
            Self::MalformedSet { .. } => {
                vec!["write --set key.path=value, for example --set job.trigger=continuous".to_owned()]
            }
            Self::Unreadable { path, .. } if path.is_dir() => {
                vec![
                    "this is a folder; `millpond build` makes a component of a plugin folder and prints its path"
                        .to_owned(),
                ]
            }
            Self::NoSuchCode { .. } => vec!["`millpond explain` without a code lists all of them".to_owned()],
            Self::TransformColumns { .. } => {
                vec!["use another component, or change the job's plan: both must have the same columns".to_owned()]
            }
            Self::Report { .. } => vec!["name a file in a folder that exists and that you may write to".to_owned()],
            Self::Unreadable { .. }
            | Self::NotToml { .. }
            | Self::Component { .. }
            | Self::CannotWrite { .. }
            | Self::Output(_)
            | Self::SetUp { .. } => Vec::new(),
        }
    }
}

fn wrong_value_help(place: &Place, allowed: &str) -> Vec<String> {
    if allowed.is_empty() {
        return Vec::new();
    }
    let mut help = vec![format!("allowed: {allowed}")];
    if place.is_set() && allowed.starts_with("text") {
        help.push(
            "a value after --set is read as TOML where it can be; quote it to make it text: key='\"10\"'".to_owned(),
        );
    }
    help
}

/// A name as it must be written in a table's head.
fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_names_are_quoted_in_help() {
        assert_eq!(toml_key("lines"), "lines");
        assert_eq!(toml_key("my lines"), "\"my lines\"");
    }
}
