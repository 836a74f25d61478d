//! `millpond new`: a plugin folder from a template.
//!
//! The SDK is on no registry, so the folder's `Cargo.toml` names it by path: that of the checkout which this program was built from,
//! or the one that `--sdk` says. The checkout's lock file is copied, so that the new crate has the same dependencies as Millpond's own
//! tests, and needs no network where Millpond was built.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Failure, print};
use crate::args::NewArgs;
use crate::error::{Error, did_you_mean};
use crate::screen::Screen;
use crate::templates::{TEMPLATES, Template};

/// The checkout that this program was built from.
const BUILT_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// As of a job.
const NAME_BYTES_MAX: usize = 64;

/// Names that cargo or rustc do not take for a library, and those of the SDK.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "millpond",
    "millpond-macros",
    "millpond-test",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Makes the folder and says what to do with it.
pub fn new(args: &NewArgs, screen: &Screen) -> Result<(), Failure> {
    let template = template(&args.template)?;
    let name = name(&args.dir)?;
    let sdk = Sdk::find(args.sdk.as_deref())?;
    let is_free = !args.dir.exists() || fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_none());
    if !is_free {
        let problem = format!("{}: there is something of this name already", args.dir.display());
        return Err(cannot(problem, "give the name of a folder that does not exist").into());
    }
    let values = [
        ("name", name),
        ("about", template.about.to_owned()),
        // TOML's basic strings are Rust's, as far as paths go.
        ("sdk", format!("{:?}", sdk.guest.display().to_string())),
        ("test", format!("{:?}", sdk.guest.join("test").display().to_string())),
    ];
    for (path, text) in template.filled(&values) {
        write(&args.dir.join(path), &text)?;
    }
    if let Ok(lock) = fs::read_to_string(sdk.root.join("Cargo.lock")) {
        write(&args.dir.join("Cargo.lock"), &lock)?;
    }
    let dir = args.dir.display();
    print(
        screen,
        &format!(
            "made {dir} from the template `{}`. What now:\n  cd {dir}\n  millpond run .      prints what comes out of data/\n  \
             millpond test .     runs the golden case in tests/first\n  cargo test          runs the test in src/lib.rs\n  \
             millpond watch .    again whenever you save a file; README.md says what to change\n",
            template.name
        ),
    )
}

fn template(wanted: &str) -> Result<&'static Template, Error> {
    TEMPLATES.iter().find(|template| template.name == wanted).ok_or_else(|| {
        let names: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
        let hint = did_you_mean(wanted, names.iter().copied());
        let hint = hint.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        cannot(format!("there is no template `{wanted}`{hint}"), &format!("the templates are: {}", names.join(", ")))
    })
}

/// The folder's name, if a crate and a job can be called so.
fn name(dir: &Path) -> Result<String, Error> {
    const HELP: &str = "use letters, digits, `-` and `_`, a letter first, 64 at most: jobs/word-count";
    let shown = dir.display();
    let Some(name) = dir.file_name() else {
        return Err(cannot(format!("{shown}: this path does not end in a name"), HELP));
    };
    let name = name.to_string_lossy().into_owned();
    let problem = if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        "has other characters than letters, digits, `-` and `_`"
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "does not begin with a letter"
    } else if name.len() > NAME_BYTES_MAX {
        "is too long"
    } else if RESERVED.contains(&name.to_ascii_lowercase().replace('_', "-").as_str()) {
        "is a word of Rust's or of Millpond's own"
    } else {
        return Ok(name);
    };
    Err(cannot(format!("{shown}: a crate cannot be called `{name}`: it {problem}"), HELP))
}

/// Where the SDK lies.
struct Sdk {
    /// Millpond's repository.
    root: PathBuf,
    /// Its folder `guest-sdk`.
    guest: PathBuf,
}

impl Sdk {
    fn find(given: Option<&Path>) -> Result<Self, Error> {
        let start = given.unwrap_or(Path::new(BUILT_FROM));
        let is_sdk = |dir: &Path| dir.join("Cargo.toml").is_file() && dir.join("test/Cargo.toml").is_file();
        let guest = [start.join("guest-sdk"), start.to_owned()].into_iter().find(|dir| is_sdk(dir));
        let guest = guest.and_then(|dir| dir.canonicalize().ok()).ok_or_else(|| {
            let what = if given.is_some() { "--sdk names" } else { "this program was built from" };
            let problem = format!("the SDK is not in {}, which {what}", start.display());
            cannot(problem, "say --sdk DIR with a checkout of Millpond's repository, the folder with guest-sdk in it")
        })?;
        let root = guest.parent().unwrap_or(&guest).to_owned();
        Ok(Self { root, guest })
    }
}

fn cannot(problem: String, remedy: &str) -> Error {
    Error::CannotMake { problem, remedy: remedy.to_owned() }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(path, text));
    written.map_err(|source| Error::CannotWrite { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates_and_jobs() {
        for good in ["wc", "jobs/word-count", "a/../Word_2"] {
            assert!(name(Path::new(good)).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", "..", "2nd", "-x", "_x", "wörter", "a b", "fn", "jobs/self", "Test", "millpond_test", &long] {
            let error = name(Path::new(bad)).unwrap_err();
            assert!(!error.help().is_empty(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let values = ["name", "about", "sdk", "test"].map(|name| (name, "x".to_owned()));
        for template in TEMPLATES {
            for (path, text) in template.filled(&values) {
                assert!(!text.contains("{{"), "{} {path}", template.name);
                assert!(!text.is_empty(), "{} {path}", template.name);
            }
        }
    }

    #[test]
    fn the_sdk_is_that_of_this_checkout_unless_another_is_named() {
        let own = Sdk::find(None).unwrap();
        assert!(own.guest.join("src/lib.rs").is_file() && own.root.join("Cargo.lock").is_file());
        assert_eq!(Sdk::find(Some(&own.root)).unwrap().guest, own.guest);
        assert_eq!(Sdk::find(Some(&own.guest)).unwrap().root, own.root);
        let error = Sdk::find(Some(Path::new("/nowhere"))).err().unwrap();
        assert_eq!(error.to_string(), "the SDK is not in /nowhere, which --sdk names");
    }
}
