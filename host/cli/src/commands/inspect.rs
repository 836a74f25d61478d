//! `millpond inspect`: what a component is.

use super::{Failure, print};
use crate::args::InspectArgs;
use crate::error::Error;
use crate::job::{about_component, wasm_engine};
use crate::screen::Screen;

/// Prints digest, size, world, imports, exports, and what the component says of itself.
pub fn inspect(args: &InspectArgs, screen: &Screen) -> Result<(), Failure> {
    let path = &args.component;
    let bytes = std::fs::read(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    let about = args.component.display().to_string();
    let inspection = wasm_engine(false)?.inspect(&bytes).map_err(|error| about_component(about, error.into()))?;
    print(screen, &format!("{inspection}\n"))
}
