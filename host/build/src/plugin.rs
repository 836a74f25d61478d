//! Plugin folders: what cargo says about one, building it, and turning the result into a component.
//!
//! The plugin's own workspace decides where it is built (`target`), as for any crate; the component goes to
//! `target/millpond/<package>.wasm` there. Cargo's progress and compiler messages go to standard error as they come.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_core::BoxError;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::toolchain::{GuestToolchain, tool};

/// A plugin's folder, as cargo sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFolder {
    /// The folder, as the user named it.
    pub folder: PathBuf,
    /// The package's name.
    pub package: String,
    /// What cargo calls the package.
    package_id: String,
    /// Where the workspace is built.
    target_dir: PathBuf,
}

/// A component that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl PluginFolder {
    /// Asks cargo about a folder.
    ///
    /// **Errors**: MP0109 when there is no package in it that builds a `cdylib`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(Error::NotAPlugin {
                folder: folder.to_owned(),
                reason: "it has no Cargo.toml".to_owned(),
                remedy: "give a folder with a Rust crate, or name a component that is built already in the job file: \
                         [job] component = \"...\""
                    .to_owned(),
            });
        }
        let metadata = cargo_metadata(folder)?;
        from_metadata(folder, &manifest, metadata)
    }

    /// Where the component goes.
    #[must_use]
    pub fn component_path(&self) -> PathBuf {
        self.target_dir.join("millpond").join(format!("{}.wasm", self.package))
    }

    /// Compiles the plugin and makes a component of it. Quick when cargo finds nothing to do.
    ///
    /// **Errors**: MP0107 when cargo fails, MP0108 without a toolchain; and what `millpond_wasm::componentize` finds.
    pub fn build(&self) -> Result<Built> {
        let toolchain = GuestToolchain::find(&self.folder)?;
        let module_path = self.compile(&toolchain)?;
        let module = read(&module_path)?;
        let bytes = millpond_wasm::componentize(&module).map_err(BoxError::from)?;
        let path = self.component_path();
        write_if_changed(&path, &bytes)?;
        Ok(Built { path, bytes })
    }

    /// The component of an earlier build.
    ///
    /// **Errors**: MP0107 when there is none.
    pub fn built_before(&self) -> Result<Built> {
        let path = self.component_path();
        let bytes = std::fs::read(&path).map_err(|error| Error::BuildFailed {
            folder: self.folder.clone(),
            reason: format!("--no-build was given, and {} cannot be read: {error}", path.display()),
            remedy: format!("leave out --no-build, or run `millpond build {}` first", self.folder.display()),
        })?;
        Ok(Built { path, bytes })
    }

    /// Runs cargo; gives the path of the core module.
    fn compile(&self, toolchain: &GuestToolchain) -> Result<PathBuf, Error> {
        let failed = |reason: String, remedy: &str| Error::BuildFailed {
            folder: self.folder.clone(),
            reason,
            remedy: remedy.to_owned(),
        };
        let mut command = toolchain.build_command(&self.folder);
        command
            .args(["--lib", "--message-format=json-render-diagnostics", "--package", &self.package_id])
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let run_error =
            |error: std::io::Error| failed(format!("cargo cannot be run: {error}"), "install Rust: https://rustup.rs");
        let mut child = command.spawn().map_err(run_error)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let module = BufReader::new(stdout)
            .lines()
            .map_while(std::io::Result::ok)
            .fold(None, |found, line| artifact(&line, &self.package_id).or(found));
        let status = child.wait().map_err(run_error)?;
        if !status.success() {
            return Err(failed(format!("cargo ended with {status}"), "cargo's messages above say what is wrong"));
        }
        module.ok_or_else(|| failed("cargo made no .wasm file".to_owned(), "set crate-type = [\"cdylib\"] under [lib]"))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

fn cargo_metadata(folder: &Path) -> Result<Metadata, Error> {
    let not_a_plugin = |reason: String, remedy: &str| Error::NotAPlugin {
        folder: folder.to_owned(),
        reason,
        remedy: remedy.to_owned(),
    };
    let output = Command::new(tool("cargo", "CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::ToolchainMissing { reason: format!("cargo cannot be run: {error}") })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim().trim_start_matches("error: ").replace('\n', "\n  ");
        return Err(not_a_plugin(format!("cargo says: {message}"), "put the folder's Cargo.toml in order"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| not_a_plugin(format!("cargo's answer cannot be read: {error}"), "use a newer cargo"))
}

fn from_metadata(folder: &Path, manifest: &Path, metadata: Metadata) -> Result<PluginFolder, Error> {
    let not_a_plugin = |reason: &str, remedy: &str| Error::NotAPlugin {
        folder: folder.to_owned(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    };
    let same = |path: &Path| match (path.canonicalize(), manifest.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => path == manifest,
    };
    let package = metadata.packages.into_iter().find(|package| same(&package.manifest_path));
    let package = package.ok_or_else(|| {
        not_a_plugin("its Cargo.toml describes a workspace, not a crate", "give the folder of one of its crates")
    })?;
    if !package.targets.iter().flat_map(|target| &target.crate_types).any(|kind| kind == "cdylib") {
        return Err(not_a_plugin(
            "its crate is no `cdylib`, so nothing can load it",
            "add to its Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]",
        ));
    }
    Ok(PluginFolder {
        folder: folder.to_owned(),
        package: package.name,
        package_id: package.id,
        target_dir: metadata.target_directory,
    })
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The module that one of cargo's messages tells of.
fn artifact(line: &str, package_id: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_ours = message.reason == "compiler-artifact"
        && message.package_id.as_deref() == Some(package_id)
        && message.target?.crate_types.iter().any(|kind| kind == "cdylib");
    let mut files = message.filenames.into_iter();
    if is_ours { files.find(|file| file.extension().is_some_and(|extension| extension == "wasm")) } else { None }
}

/// Reads a file that must be there.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}

/// Replaces a file in one step, so that a job which reads it at this moment sees the old one or the new one.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let cannot_write = |source| Error::CannotWrite { path: path.to_owned(), source };
    let dir = path.parent().expect("the path has a folder");
    std::fs::create_dir_all(dir).map_err(cannot_write)?;
    // Two builds at once, in one process or in two, must not write into one temporary file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.wasm.tmp", std::process::id()));
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        // What is left of it is of no use to anybody; that it cannot be removed either changes nothing.
        std::fs::remove_file(&temporary).ok();
        cannot_write(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(crate_types: &str, manifest: &str) -> Metadata {
        let text = format!(
            r#"{{"packages": [{{"name": "wc", "id": "path+file:///p#wc@0.1.0", "manifest_path": "{manifest}",
                "targets": [{{"crate_types": {crate_types}}}]}}], "target_directory": "/p/target"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn component_lies_in_the_plugins_own_target_folder() {
        let manifest = Path::new("/p/wc/Cargo.toml");
        let plugin = from_metadata(Path::new("/p/wc"), manifest, metadata(r#"["cdylib", "rlib"]"#, "/p/wc/Cargo.toml"));
        assert_eq!(plugin.unwrap().component_path(), Path::new("/p/target/millpond/wc.wasm"));
    }

    #[test]
    fn a_library_without_cdylib_is_no_plugin() {
        let manifest = Path::new("/p/wc/Cargo.toml");
        let error =
            from_metadata(Path::new("/p/wc"), manifest, metadata(r#"["lib"]"#, "/p/wc/Cargo.toml")).unwrap_err();
        assert_eq!(error.to_string(), "/p/wc: not a plugin folder: its crate is no `cdylib`, so nothing can load it");
        assert!(error.help()[0].contains("crate-type"));
    }

    #[test]
    fn a_workspace_is_no_plugin() {
        let error =
            from_metadata(Path::new("/p"), Path::new("/p/Cargo.toml"), metadata(r#"["lib"]"#, "/p/wc/Cargo.toml"));
        assert!(error.unwrap_err().to_string().contains("describes a workspace"));
    }

    #[test]
    fn a_folder_without_crate_is_no_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let error = PluginFolder::open(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("not a plugin folder: it has no Cargo.toml"), "{error}");
    }

    #[test]
    fn the_artifact_is_the_packages_own_module() {
        let line = |id: &str, kind: &str| {
            format!(
                r#"{{"reason": "compiler-artifact", "package_id": "{id}", "target": {{"crate_types": ["{kind}"]}},
                    "filenames": ["/t/libwc.rlib", "/t/wc.wasm"], "fresh": true}}"#
            )
        };
        assert_eq!(artifact(&line("a", "cdylib"), "a"), Some("/t/wc.wasm".into()));
        assert_eq!(artifact(&line("b", "cdylib"), "a"), None);
        assert_eq!(artifact(&line("a", "lib"), "a"), None);
        assert_eq!(artifact("not json", "a"), None);
    }

    #[test]
    fn an_unchanged_component_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millpond/wc.wasm");
        write_if_changed(&path, b"one").unwrap();
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        write_if_changed(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
        write_if_changed(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path().join("millpond")).unwrap().count(), 1);
    }
}
