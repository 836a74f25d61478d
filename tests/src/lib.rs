//! End-to-end, golden, crash and hostile-guest tests of Millpond
