//! The well-behaved half: what a stage, a merge and an update ought to return.

use crate::bindings::exports::millpond::plugin::job_guest::{Batch, MapOutput, UpdateInput};
use crate::bindings::millpond::plugin::types::{Column, ColumnData};
use crate::settings::Settings;

/// `pass` and `types`: the input as it is. `keyed` and `mapped`: each line is a word that was seen once.
pub fn stage(settings: &Settings, _node: u32, mut input: Batch) -> Batch {
    if matches!(settings.graph.as_str(), "keyed" | "mapped") {
        input.columns.push(int64(vec![1; input.rows as usize]));
    }
    input
}

/// Sums of groups.
pub fn merge(groups: &[u32], values: &Batch) -> Batch {
    let values = numbers(values);
    let sums = groups.windows(2).map(|pair| values[pair[0] as usize..pair[1] as usize].iter().sum());
    one(sums.collect())
}

pub fn subtract(totals: &Batch, leaving: &Batch) -> Batch {
    one(numbers(totals).iter().zip(numbers(leaving)).map(|(total, leaving)| total - leaving).collect())
}

/// Running sums.
pub fn update(input: &UpdateInput) -> Batch {
    let mut sums = merge(&input.groups, &input.values);
    let ColumnData::Int64(sums_values) = &mut sums.columns[0].data else { unreachable!() };
    for (group, (sum, state)) in sums_values.iter_mut().zip(numbers(&input.states)).enumerate() {
        if input.present[group / 8] >> (group % 8) & 1 == 1 {
            *sum += state;
        }
    }
    sums
}

/// Each row becomes the running sum of its key; a key that times out becomes its sum.
pub fn map_with_state(input: &UpdateInput) -> MapOutput {
    let (values, states) = (numbers(&input.values), numbers(&input.states));
    let (mut rows, mut sums) = (Vec::new(), Vec::new());
    for (group, pair) in input.groups.windows(2).enumerate() {
        let mut sum = if input.present[group / 8] >> (group % 8) & 1 == 1 { states[group] } else { 0 };
        for value in &values[pair[0] as usize..pair[1] as usize] {
            sum += value;
            rows.push(sum);
        }
        if pair[0] == pair[1] {
            rows.push(sum);
        }
        sums.push(sum);
    }
    let all = |count: usize| vec![0xff; count.div_ceil(8)];
    let (mapped, keep, written) = (all(rows.len()), all(sums.len()), all(sums.len()));
    MapOutput { rows: one(rows), mapped, states: one(sums), keep, written }
}

fn numbers(batch: &Batch) -> &[i64] {
    match &batch.columns[0].data {
        ColumnData::Int64(values) => values,
        _ => panic!("the values of this job are int64"),
    }
}

pub fn int64(values: Vec<i64>) -> Column {
    Column { data: ColumnData::Int64(values), validity: None }
}

fn one(values: Vec<i64>) -> Batch {
    Batch { rows: values.len() as u32, columns: vec![int64(values)] }
}
