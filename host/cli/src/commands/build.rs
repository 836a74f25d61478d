//! `millpond build`: a plugin folder becomes a component.

use millpond_build::PluginFolder;

use super::{Failure, print};
use crate::args::BuildArgs;
use crate::error::Error;
use crate::screen::Screen;
use crate::text;

/// Builds, and prints the component's path and size.
pub fn build(args: &BuildArgs, screen: &Screen) -> Result<(), Failure> {
    if !args.dir.is_dir() {
        return Err(match args.dir.exists() {
            false => Error::NoFolder { path: args.dir.clone() }.into(),
            true => millpond_build::Error::NotAPlugin {
                folder: args.dir.clone(),
                reason: "it is a file".to_owned(),
                remedy: "give the folder that the file lies in".to_owned(),
            }
            .into(),
        });
    }
    let built = PluginFolder::open(&args.dir)?.build()?;
    let size = text::bytes(built.bytes.len() as u64);
    print(screen, &format!("{} ({size})\n", built.path.display()))
}
