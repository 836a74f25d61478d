//! Finds what compiles Rust to WebAssembly on this machine.
//!
//! Two ways exist. rustup's Rust has the target's standard library ready, once the target was added. Debian's packages
//! (`rustc-web`, `cargo-web`, `rust-web-src`, `lld-22`) have its source, and cargo builds it. The first one that is there is taken.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The target of plugins.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's Rust, beside which rustup's may be on the path.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A way to compile plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestToolchain {
    /// The target's standard library is installed.
    Target {
        /// Which cargo to call.
        cargo: PathBuf,
    },
    /// The standard library is built with the plugin, from source.
    BuildStd {
        /// Which cargo to call.
        cargo: PathBuf,
        /// Which compiler it is to use.
        rustc: PathBuf,
    },
}

impl GuestToolchain {
    /// Looks at this machine as it is seen from `folder`, whose `rust-toolchain.toml` may say another version.
    ///
    /// **Errors**: MP0108 when there is nothing.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let rustc = tool("rustc", "RUSTC");
        let cargo = tool("cargo", "CARGO");
        let installed = target_libdir(&rustc, folder);
        if installed.as_deref().is_ok_and(Path::is_dir) {
            return Ok(Self::Target { cargo });
        }
        let (debian_rustc, debian_cargo) = (Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_CARGO));
        if debian_cargo.is_file() && has_std_source(debian_rustc, folder) {
            return Ok(Self::BuildStd { cargo: debian_cargo.to_owned(), rustc: debian_rustc.to_owned() });
        }
        let reason = match installed {
            Ok(dir) => {
                format!("{} is not there, and {DEBIAN_RUSTC} with its library's source is not either", dir.display())
            }
            Err(reason) => reason,
        };
        Err(Error::ToolchainMissing { reason })
    }

    /// A cargo command for plugins: `cargo build` with the target, its features, and a standard library if need be.
    #[must_use]
    pub fn build_command(&self, folder: &Path) -> Command {
        let (Self::Target { cargo } | Self::BuildStd { cargo, .. }) = self;
        let mut command = Command::new(cargo);
        command.current_dir(folder).arg("build").args(["--release", "--target", TARGET]);
        if let Self::BuildStd { rustc, .. } = self {
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
        add_target_features(&mut command);
        command
    }
}

/// The program that a variable names (cargo sets it for what it runs), or the one on the path, or rustup's usual place.
pub(crate) fn tool(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&paths).any(|dir| dir.join(name).is_file()) {
        return name.into();
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    home.map(|home| home.join("bin").join(name)).filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// Where the target's standard library would be; an error says why the compiler cannot be asked.
fn target_libdir(rustc: &Path, folder: &Path) -> Result<PathBuf, String> {
    let answer = ask(rustc, folder, &["--print", "target-libdir", "--target", TARGET])?;
    Ok(PathBuf::from(answer))
}

/// Whether a compiler has the source of its standard library.
fn has_std_source(rustc: &Path, folder: &Path) -> bool {
    let sysroot = ask(rustc, folder, &["--print", "sysroot"]);
    sysroot.is_ok_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file())
}

fn ask(program: &Path, folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    let stderr = said(&output.stderr);
    let reason = stderr.lines().next().unwrap_or("it failed");
    Err(format!("`{} {}`: {reason}", program.display(), args.join(" ")))
}

/// SIMD and bulk memory make the copies and scans of columns several times as fast; every engine has had them for years.
const TARGET_FEATURES: &str = "target-feature=+simd128,+bulk-memory";

/// Adds the flags to those that are set already. A variable hides what cargo's configuration says, so one is set only when
/// one was set before.
fn add_target_features(command: &mut Command) {
    let (name, value) = flags(std::env::var_os("CARGO_ENCODED_RUSTFLAGS"), std::env::var_os("RUSTFLAGS"));
    match name {
        Some(name) => command.env(name, value),
        None => command.arg("--config").arg(value),
    };
}

fn flags(encoded: Option<OsString>, plain: Option<OsString>) -> (Option<&'static str>, OsString) {
    let append = |mut before: OsString, separator: &str| {
        if !before.is_empty() {
            before.push(separator);
        }
        before.push("-C");
        before.push(separator);
        before.push(TARGET_FEATURES);
        before
    };
    match (encoded, plain) {
        (Some(encoded), _) => (Some("CARGO_ENCODED_RUSTFLAGS"), append(encoded, "\u{1f}")),
        (None, Some(plain)) => (Some("RUSTFLAGS"), append(plain, " ")),
        (None, None) => (None, format!("target.{TARGET}.rustflags=[\"-C\", \"{TARGET_FEATURES}\"]").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_appended_to_what_is_set() {
        let (name, value) = flags(None, Some("-g".into()));
        assert_eq!((name, value), (Some("RUSTFLAGS"), "-g -C target-feature=+simd128,+bulk-memory".into()));
        let (name, value) = flags(Some("-g".into()), Some("ignored".into()));
        assert_eq!(name, Some("CARGO_ENCODED_RUSTFLAGS"));
        assert_eq!(value, OsString::from("-g\u{1f}-C\u{1f}target-feature=+simd128,+bulk-memory"));
    }

    #[test]
    fn without_a_variable_the_configuration_keeps_its_say() {
        let (name, value) = flags(None, None);
        assert_eq!(name, None);
        assert!(value.to_string_lossy().starts_with("target.wasm32-unknown-unknown.rustflags=["));
    }

    #[test]
    fn a_compiler_that_is_not_there_is_named() {
        let reason = target_libdir(Path::new("/nowhere/rustc"), Path::new("/")).unwrap_err();
        assert!(reason.starts_with("/nowhere/rustc cannot be run"), "{reason}");
    }

    #[test]
    fn the_debian_way_builds_the_standard_library() {
        let way = GuestToolchain::BuildStd { cargo: DEBIAN_CARGO.into(), rustc: DEBIAN_RUSTC.into() };
        let command = way.build_command(Path::new("/"));
        assert!(command.get_args().any(|arg| arg == "-Zbuild-std=std,panic_abort"));
        assert!(command.get_envs().any(|(name, value)| name == "RUSTC_BOOTSTRAP" && value == Some("1".as_ref())));
    }
}
