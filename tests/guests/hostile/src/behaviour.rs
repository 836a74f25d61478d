//! Everything that it can do wrong.

use std::hint::black_box;

use crate::bindings::exports::millpond::plugin::job_guest::{Batch, Failure, MapOutput};
use crate::bindings::millpond::plugin::accumulators::{self, Number, Update};
use crate::bindings::millpond::plugin::log::{self, Level};
use crate::bindings::millpond::plugin::types::{Column, ColumnData, FailureCode, Rejection, VarData};
use crate::calls::int64;
use crate::settings::Settings;

/// What goes wrong before there is an answer.
pub fn before(settings: &Settings) {
    match settings.behaviour.as_str() {
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("this job panics on purpose"),
        "loop" | "slow-start" => loop_for_ever(),
        "log-loop" => {
            log::log(Level::Info, "now it loops", true);
            loop_for_ever();
        }
        "recurse" => drop(black_box(recurse_for_ever(black_box(1)))),
        "recurse-on-own-stack" => drop(black_box(recurse_with_arrays(black_box(1)))),
        "allocate" => allocate_for_ever(),
        "leak" => std::mem::forget(black_box(vec![1u8; settings.bytes])),
        "log-flood" => (0..100_000).for_each(|number| log::log(Level::Info, &format!("flood {number}"), true)),
        "log-flood-then-panic" => {
            (0..10_000).for_each(|number| log::log(Level::Error, &format!("flood {number}"), true));
            panic!("after the flood");
        }
        "log-huge" => log::log(Level::Info, &"x".repeat(settings.bytes), true),
        "log-fragments" => {
            log::log(Level::Info, "one ", false);
            log::log(Level::Info, "line", true);
            log::log(Level::Warn, "\u{1b}[31mred", true);
        }
        "log-not-utf8" => {
            let bytes = [0xffu8, 0xfe];
            log::log(Level::Info, unsafe { std::str::from_utf8_unchecked(black_box(&bytes)) }, true);
        }
        other => accumulate(other, settings.bytes),
    }
}

/// What is handed over for the accumulators `calls` (a counter) and `peak` (a float64).
fn accumulate(behaviour: &str, bytes: usize) {
    let calls = |number| Update { accumulator: 0, number: Number::Int64(number) };
    let peak = |number| Update { accumulator: 1, number: Number::Float64(number) };
    match behaviour {
        "accumulate" => accumulators::add(&[peak(2.5), calls(1)]),
        "accumulate-then-trap" => {
            accumulators::add(&[calls(1)]);
            core::arch::wasm32::unreachable();
        }
        "accumulator-unknown" => accumulators::add(&[Update { accumulator: 7, ..calls(1) }]),
        "accumulator-listed-twice" => accumulators::add(&[calls(1), peak(1.0), calls(1)]),
        "accumulator-wrong-number" => accumulators::add(&[Update { accumulator: 0, ..peak(1.0) }]),
        "accumulator-negative" => accumulators::add(&[calls(-1)]),
        "accumulators-two-calls" => (0..2).for_each(|_| accumulators::add(&[calls(1)])),
        "accumulators-too-many" => accumulators::add(&vec![calls(1); 257]),
        "accumulators-huge" => accumulators::add(&vec![calls(1); bytes / 16]),
        "accumulator-overflow" => accumulators::add(&[calls(i64::MAX)]),
        _ => {}
    }
}

#[inline(never)]
fn loop_for_ever() {
    let mut number = 0u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

#[inline(never)]
fn recurse_for_ever(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        return 0;
    }
    recurse_for_ever(depth + 1).wrapping_add(depth)
}

/// The array lies on the stack that Rust keeps in linear memory, so that one is full first.
#[inline(never)]
fn recurse_with_arrays(depth: u64) -> u64 {
    let mut array = [depth; 256];
    if black_box(&mut array)[0] == 0 {
        return 0;
    }
    recurse_with_arrays(depth + 1).wrapping_add(black_box(&array)[255])
}

#[inline(never)]
fn allocate_for_ever() {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1u8; 1 << 20]));
    }
}

pub fn failure(settings: &Settings) -> Result<(), Failure> {
    let code = match settings.behaviour.as_str() {
        "failure" => FailureCode::User,
        "failure-internal" => FailureCode::Internal,
        "failure-bad-input" => FailureCode::BadInput,
        "failure-unknown-node" => FailureCode::UnknownNode,
        _ => return Ok(()),
    };
    Err(Failure { code, message: "no more\u{1b}[31m".into() })
}

pub fn rejections(settings: &Settings, rows: u32, calls: u32, broadcasts: u32) -> Vec<Rejection> {
    let reject = |row: u32, reason: &str| Rejection { row, reason: reason.into() };
    match settings.behaviour.as_str() {
        "reject-all" => (0..rows).map(|row| reject(row, "not today")).collect(),
        "count-calls" => vec![reject(0, &calls.to_string())],
        "count-broadcasts" => vec![reject(0, &broadcasts.to_string())],
        "too-many-rejections" => (0..=rows).map(|row| reject(row, "no")).collect(),
        "rejection-past-end" => vec![reject(rows, "no")],
        "rejections-unordered" => vec![reject(1, "no"), reject(0, "no")],
        "rejection-twice" => vec![reject(0, "no"), reject(0, "no")],
        "rejection-long" => vec![reject(0, &"ä".repeat(2000))],
        "rejection-not-utf8" => vec![Rejection { row: 0, reason: unsafe { String::from_utf8_unchecked(vec![0xff]) } }],
        // Each costs the guest 12 bytes and the host more.
        "rejections-huge" => (0..settings.bytes as u32 / 12).map(|row| reject(row, "")).collect(),
        _ => Vec::new(),
    }
}

/// What is wrong with the answer itself.
pub fn corrupt(settings: &Settings, mut batch: Batch) -> Batch {
    match settings.behaviour.as_str() {
        "wrong-length" => shorten(&mut batch),
        "rows-too-few" => return cut(batch),
        "rows-too-many" => batch.rows = u32::MAX,
        "too-many-columns" => batch.columns.push(int64(vec![0; batch.rows as usize])),
        "too-few-columns" => drop(batch.columns.pop()),
        "wrong-type" => {
            batch.columns[0] = Column { data: ColumnData::Float64(vec![0.0; batch.rows as usize]), validity: None }
        }
        "wrong-nullability" => batch.columns[0].validity = Some(vec![0xff; (batch.rows as usize).div_ceil(8)]),
        "wrong-validity-length" => batch.columns.iter_mut().for_each(|column| {
            if let Some(validity) = &mut column.validity {
                validity.push(0);
            }
        }),
        "huge-output" => batch.columns[0] = text(vec![b'x'; settings.bytes], batch.rows),
        "aliased-output" => alias(&mut batch, settings.bytes),
        "map-key-twice" => batch.columns.iter_mut().for_each(double_keys),
        "pointer-past-end" => batch.columns[0] = Column { data: ColumnData::Int64(past_end()), validity: None },
        other => corrupt_text(other, &mut batch),
    }
    batch
}

/// What is wrong with the flags of a map with state, and with its states.
pub fn corrupt_map(settings: &Settings, output: &mut MapOutput) {
    match settings.behaviour.as_str() {
        "mapped-too-long" => output.mapped.push(0),
        "mapped-too-few" => output.mapped.fill(0),
        "keep-too-long" => output.keep.push(0),
        "written-too-long" => output.written.push(0),
        "written-never" => output.written.fill(0),
        "states-too-few" => {
            let states = Batch { rows: 0, columns: Vec::new() };
            output.states = cut(std::mem::replace(&mut output.states, states));
        }
        _ => {}
    }
}

fn corrupt_text(behaviour: &str, batch: &mut Batch) {
    let Some(Column { data: ColumnData::Utf8(data), .. }) = batch.columns.first_mut() else { return };
    let rows = data.offsets.len() - 1;
    match behaviour {
        "offsets-descending" => data.offsets[1] = data.bytes.len() as u32 + 1,
        "offsets-past-end" => data.offsets[rows] += 1,
        "offsets-short-of-end" => data.bytes.push(b'x'),
        "offsets-not-from-zero" => data.offsets[0] = 1,
        "bad-utf8" => data.bytes[0] = 0xff,
        // Valid as a whole, and cut inside a character.
        "split-utf8" => {
            *data = VarData { offsets: vec![0; rows + 1], bytes: "ä".into() };
            data.offsets[rows] = 2;
            data.offsets[rows - 1] = 1;
        }
        _ => {}
    }
}

fn text(bytes: Vec<u8>, rows: u32) -> Column {
    let mut offsets = vec![0; rows as usize + 1];
    offsets[rows as usize] = bytes.len() as u32;
    Column { data: ColumnData::Utf8(VarData { offsets, bytes }), validity: None }
}

/// All text of the same length becomes the same, so keys of maps do.
fn double_keys(column: &mut Column) {
    if let ColumnData::Utf8(data) = &mut column.data {
        data.bytes.fill(b'k');
    }
}

fn shorten(batch: &mut Batch) {
    for column in &mut batch.columns {
        match &mut column.data {
            ColumnData::Boolean(bytes) => bytes.push(0),
            ColumnData::Int64(values) | ColumnData::Timestamp(values) => drop(values.pop()),
            ColumnData::Float64(values) => drop(values.pop()),
            ColumnData::Utf8(data) | ColumnData::Binary(data) => drop(data.offsets.pop()),
            ColumnData::List(offsets) | ColumnData::Map(offsets) => drop(offsets.pop()),
            // The graphs of this guest have no columns of other types.
            _ => {}
        }
    }
}

/// One row less, otherwise in order.
fn cut(mut batch: Batch) -> Batch {
    batch.rows -= 1;
    for column in &mut batch.columns {
        match &mut column.data {
            ColumnData::Int64(values) => drop(values.pop()),
            ColumnData::Utf8(data) => {
                data.offsets.pop();
                data.bytes.truncate(data.offsets[data.offsets.len() - 1] as usize);
            }
            _ => {}
        }
    }
    batch
}

/// Many columns that all are the same memory. The host stops reading before anything is freed twice.
fn alias(batch: &mut Batch, bytes: usize) {
    let mut memory = std::mem::ManuallyDrop::new(vec![b'x'; bytes]);
    for _ in 0..1000 {
        let alias = unsafe { Vec::from_raw_parts(memory.as_mut_ptr(), bytes, bytes) };
        batch.columns.push(text(alias, batch.rows));
    }
}

fn past_end() -> Vec<i64> {
    let end = core::arch::wasm32::memory_size::<0>() * 65536;
    unsafe { Vec::from_raw_parts((end - 8) as *mut i64, 1000, 1000) }
}
