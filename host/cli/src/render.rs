//! How errors look: one line with code and place, lines of help, where to read more.

use millpond_core::BoxError;

use crate::error::Error;
use crate::text::printable;

const RED: &str = "\u{1b}[1;31m";
const CYAN: &str = "\u{1b}[1;36m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// An error as text for a person; several lines, no line end after the last.
#[must_use]
pub fn render(error: &BoxError, is_colored: bool) -> String {
    let paint = |style: &str, text: &str| {
        if is_colored { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    };
    let code = error.code();
    let own: Option<&Error> = error.as_ref().downcast_ref();
    let build: Option<&millpond_build::Error> = error.as_ref().downcast_ref();
    let help = own.map(Error::help).or(build.map(millpond_build::Error::help)).unwrap_or_default();
    let has_page = own.is_none_or(Error::has_page);
    let head = if has_page { format!("error[{code}]") } else { "error".to_owned() };
    let mut text = format!("{}: {}", paint(RED, &head), printable(&error.full_message()));
    for line in help {
        text.push_str(&format!("\n{}: {}", paint(CYAN, "help"), printable(&line)));
    }
    if has_page {
        let more = format!("run `millpond explain {code}` for more");
        text.push_str(&format!("\n{}", paint(DIM, &more)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn error_shows_code_place_help_and_page() {
        let error = Error::NoJobFile { path: "wc/millpond.toml".into(), dir: "wc".into() };
        insta::assert_snapshot!(render(&error.into(), false), @r"
        error[MP0101]: wc/millpond.toml: no job file in folder wc
        help: a job is a folder with a millpond.toml in it: write one, or give the right folder
        run `millpond explain MP0101` for more
        ");
    }

    #[test]
    fn causes_are_told() {
        let source = std::io::Error::other("disk on fire");
        let error = Error::Unreadable { path: PathBuf::from("a.toml"), source };
        assert!(render(&error.into(), false).starts_with("error[MP0101]: a.toml: cannot be read: disk on fire\n"));
    }

    #[test]
    fn color_is_only_for_terminals() {
        let error = || Error::Missing { path: PathBuf::from("a") }.into();
        assert!(!render(&error(), false).contains('\u{1b}'));
        assert!(render(&error(), true).starts_with("\u{1b}[1;31merror[MP0101]\u{1b}[0m: "));
    }

    #[test]
    fn a_name_with_control_characters_is_escaped() {
        let error = Error::Missing { path: PathBuf::from("a\n\u{1b}[2J") };
        let text = render(&error.into(), false);
        assert!(text.starts_with("error[MP0101]: a\\n\\u{1b}[2J: no such file"), "{text}");
    }
}
