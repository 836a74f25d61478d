//! `millpond explain`: the page of an error code, or all codes.

use millpond_core::error::{CODE_PAGES, explain as page_of};

use super::{Failure, print};
use crate::args::ExplainArgs;
use crate::error::{Error, did_you_mean};
use crate::screen::Screen;

/// Prints a page, or one line for each code.
pub fn explain(args: &ExplainArgs, screen: &Screen) -> Result<(), Failure> {
    let text = match &args.code {
        Some(code) => page(code)?,
        None => list(),
    };
    print(screen, &text)
}

fn page(code: &str) -> Result<String, Error> {
    let page = page_of(code).ok_or_else(|| Error::NoSuchCode {
        code: code.to_owned(),
        suggestion: did_you_mean(&code.to_ascii_uppercase(), CODE_PAGES.iter().map(|(known, _)| known.0)),
    })?;
    Ok(format!("{}\n", page.trim_end()))
}

fn list() -> String {
    let lines = CODE_PAGES.iter().map(|(code, page)| {
        let head = page.lines().next().unwrap_or_default();
        let title = head.trim_start_matches(['#', ' ']).trim_start_matches(code.0).trim_start_matches([':', ' ']);
        format!("{code}  {title}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_every_code_with_a_title() {
        let list = list();
        assert_eq!(list.lines().count(), CODE_PAGES.len());
        for line in list.lines() {
            let (code, title) = line.split_once("  ").unwrap();
            assert!(code.starts_with("MP") && !title.is_empty() && !title.starts_with('#'), "{line}");
        }
    }

    #[test]
    fn case_of_the_code_does_not_matter() {
        assert_eq!(page("mp0103").unwrap(), page("MP0103").unwrap());
    }

    #[test]
    fn an_unknown_code_gets_a_suggestion() {
        let error = page("MP013").unwrap_err().to_string();
        assert!(error.starts_with("there is no error code `MP013`; did you mean `MP01"), "{error}");
        assert_eq!(page("nonsense").unwrap_err().to_string(), "there is no error code `nonsense`");
    }
}
