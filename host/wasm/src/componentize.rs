//! From what a compiler makes (a core module) to what the host loads (a component).

use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::error::{Error, Result};

/// Encodes a core module as a component.
///
/// The module must carry the description of its world (a custom section `component-type...`), which the Rust SDK and every
/// wit-bindgen put into it. A module that is a component already is an error.
///
/// **Errors**: [`Error::Componentize`], [`Error::NotAComponent`] for bytes that are no WebAssembly at all.
pub fn componentize(core_module: &[u8]) -> Result<Vec<u8>> {
    check(core_module)?;
    let encode = || ComponentEncoder::default().validate(true).module(core_module)?.encode();
    encode().map_err(|error| Error::Componentize { reason: format!("{error:#}") })
}

fn check(core_module: &[u8]) -> Result<()> {
    let wrong = |reason: &str| Err(Error::Componentize { reason: reason.into() });
    let mut described = false;
    for payload in Parser::new(0).parse_all(core_module) {
        match payload {
            Err(error) if core_module.starts_with(b"\0asm") => {
                return Err(Error::Componentize { reason: format!("it is damaged or incomplete: {error}") });
            }
            Err(_) => return Err(Error::NotAComponent { reason: "it does not begin as WebAssembly does".into() }),
            Ok(Payload::Version { encoding: Encoding::Component, .. }) => return wrong("it is a component already"),
            Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type") => described = true,
            Ok(_) => {}
        }
    }
    if described {
        return Ok(());
    }
    wrong(
        "it does not say which world it implements (no `component-type` section): use `millpond::job!` or \
         `millpond::transform!` in a library with crate-type = [\"cdylib\"], or the bindings generator of your language",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        componentize(bytes).unwrap_err().to_string()
    }

    #[test]
    fn module_without_a_world_is_told_how_to_get_one() {
        assert!(refused(&wat::parse_str("(module)").unwrap()).contains("millpond::job!"));
    }

    #[test]
    fn other_bytes_say_what_they_are() {
        assert!(refused(&wat::parse_str("(component)").unwrap()).contains("a component already"));
        assert!(refused(b"no").contains("not a WebAssembly component"));
        assert!(refused(b"\0asm\x01\0\0\0\x01").contains("damaged or incomplete"));
    }
}
