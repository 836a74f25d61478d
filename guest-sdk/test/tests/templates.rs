//! The templates of `millpond new` compile, and their own tests pass natively. That the folders build, run and pass their cases is
//! tested end to end.

#![allow(unreachable_pub, reason = "each is a crate of its own, too")]

#[path = "../../../host/cli/templates/blank/lib.rs"]
mod blank;
#[path = "../../../host/cli/templates/joined/lib.rs"]
mod joined;
#[path = "../../../host/cli/templates/stateful/lib.rs"]
mod stateful;
#[path = "../../../host/cli/templates/windowed/lib.rs"]
mod windowed;
#[path = "../../../host/cli/templates/wordcount/lib.rs"]
mod wordcount;
