//! Every field of a row is a row.
#[derive(millpond::Row)]
struct Reading {
    sensor: String,
    value: usize,
    tags: std::collections::HashMap<String, i64>,
}

fn main() {}
