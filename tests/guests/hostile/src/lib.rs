//! A job that misbehaves as its settings say, written on the bare contract and not on the SDK, so that it can return what
//! no SDK would.
//!
//! Settings:
//! - `graph`: `pass` (default: source `lines` -> stage `pass` -> sink `out`), `types` (the same with a column of every
//!   type), `whole` (a whole-batch node that passes the rows of its first input on) or `keyed` (word counts through every kind of call; see `plans.rs`).
//! - `behaviour`: what it does wrong; none = it behaves. See `behaviour.rs`, `plans.rs`.
//! - `in`: the call that misbehaves: `plan`, `run-stage` (default), `merge`, `subtract`, `update`, `map-with-state`, `run-batch` or
//!   `set-broadcast`.
//! - `on`: misbehaves only for a batch that has this text in its first column.
//! - `bytes`: how much, for behaviours that are about size.

mod behaviour;
mod calls;
mod plans;
mod settings;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "job",
    });
}

use std::cell::Cell;

use bindings::exports::millpond::plugin::job_guest::{
    Batch, Failure, Guest, JobPlan, MapOutput, Param, StageOutput, TaskInfo, UpdateInput, UpdateOutput,
};
use bindings::millpond::plugin::log;
use settings::Settings;

struct Hostile;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static BROADCASTS: Cell<u32> = const { Cell::new(0) };
}

/// How many calls this instance has had, this one included.
fn count_call() -> u32 {
    CALLS.set(CALLS.get() + 1);
    CALLS.get()
}

impl Guest for Hostile {
    fn plan(params: Vec<Param>) -> Result<JobPlan, String> {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("no message");
            log::log(log::Level::Error, &format!("panicked: {message}"), true);
        }));
        let settings = Settings::new(params);
        if settings.call == "plan" {
            behaviour::before(&settings);
        }
        let plan = plans::plan(&settings);
        settings::set(settings);
        plan
    }

    fn set_broadcast(_number: u32, value: Batch) -> Result<(), Failure> {
        BROADCASTS.set(BROADCASTS.get() + 1);
        let settings = settings::get();
        if settings.misbehaves("set-broadcast", &value) {
            behaviour::before(&settings);
            behaviour::failure(&settings)?;
        }
        Ok(())
    }

    fn run_stage(node: u32, _task: TaskInfo, input: Batch) -> Result<StageOutput, Failure> {
        let calls = count_call();
        let settings = settings::get();
        if !settings.misbehaves("run-stage", &input) {
            return Ok(StageOutput { batch: calls::stage(&settings, node, input), rejected: Vec::new() });
        }
        behaviour::before(&settings);
        behaviour::failure(&settings)?;
        let rows = input.rows;
        let rejected = behaviour::rejections(&settings, rows, calls, BROADCASTS.get());
        let batch = behaviour::corrupt(&settings, calls::stage(&settings, node, input));
        Ok(StageOutput { batch, rejected })
    }

    fn merge(_node: u32, _task: TaskInfo, groups: Vec<u32>, values: Batch) -> Result<Batch, Failure> {
        answer("merge", calls::merge(&groups, &values))
    }

    fn subtract(_node: u32, _task: TaskInfo, totals: Batch, leaving: Batch) -> Result<Batch, Failure> {
        answer("subtract", calls::subtract(&totals, &leaving))
    }

    fn update(_node: u32, _task: TaskInfo, input: UpdateInput) -> Result<UpdateOutput, Failure> {
        let groups = input.groups.len() - 1;
        let states = answer("update", calls::update(&input))?;
        let settings = settings::get();
        let mut keep = vec![0xff; groups.div_ceil(8)];
        if settings.call == "update" && settings.behaviour == "keep-too-long" {
            keep.push(0);
        }
        Ok(UpdateOutput { states, keep })
    }

    fn map_with_state(_node: u32, _task: TaskInfo, input: UpdateInput) -> Result<MapOutput, Failure> {
        let mut output = calls::map_with_state(&input);
        output.rows = answer("map-with-state", output.rows)?;
        let settings = settings::get();
        if settings.call == "map-with-state" {
            behaviour::corrupt_map(&settings, &mut output);
        }
        Ok(output)
    }

    fn run_batch(_node: u32, _task: TaskInfo, inputs: Vec<Batch>) -> Result<Batch, Failure> {
        answer("run-batch", inputs.into_iter().next().expect("a whole-batch node has inputs"))
    }
}

fn answer(call: &str, batch: Batch) -> Result<Batch, Failure> {
    count_call();
    let settings = settings::get();
    if !settings.misbehaves(call, &batch) {
        return Ok(batch);
    }
    behaviour::before(&settings);
    behaviour::failure(&settings)?;
    Ok(behaviour::corrupt(&settings, batch))
}

bindings::export!(Hostile with_types_in bindings);
