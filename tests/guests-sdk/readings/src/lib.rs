//! Rows with a column of every type, nullable and not, from one source to two sinks.

use millpond::{Row, StreamingContext, Timestamp};

millpond::job!(readings);

/// A column of every type.
#[derive(Row, Debug, PartialEq)]
pub struct Reading {
    /// Text.
    pub sensor: String,
    /// A whole number.
    pub count: i64,
    /// A number.
    pub value: f64,
    /// True or false.
    pub ok: bool,
    /// An instant.
    pub at: Timestamp,
    /// Bytes.
    pub raw: Vec<u8>,
    /// Text or nothing.
    pub note: Option<String>,
    /// A whole number or nothing.
    pub retries: Option<i64>,
    /// A number or nothing.
    pub level: Option<f64>,
    /// True, false or nothing.
    pub flag: Option<bool>,
    /// An instant or nothing.
    pub until: Option<Timestamp>,
    /// Bytes or nothing.
    pub blob: Option<Vec<u8>>,
}

/// The dataflow.
pub fn readings(ctx: &mut StreamingContext) {
    // A stage of its own, so that every value goes into the component and out of it.
    let kept = ctx.source::<Reading>("readings").filter(|reading| reading.sensor != "skipped").cache();
    kept.sink("json");
    kept.sink("csv");
}
