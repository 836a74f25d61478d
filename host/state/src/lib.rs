//! Commit log and checkpoint store of Millpond: the only crate that names sled
