//! Windows and states per sensor, chosen by the setting `job`: what the bench compares with one another.
//!
//! Readings (sensor, value) come from `readings`; what is worth a look goes to `out`.

use std::cmp::Reverse;
use std::time::Duration;

use millpond::{DStream, State, StreamingContext, Values};

millpond::job!(stateful);

type Reading = (String, f64);

/// How far a value moves an average.
const A: f64 = 0.3;

/// The dataflow.
pub fn stateful(ctx: &mut StreamingContext) {
    let job = ctx.param("job").unwrap_or_default();
    let seconds = |name| Duration::from_secs(ctx.param_or(name, 60));
    let (length, timeout) = (seconds("length"), seconds("timeout"));
    let threshold: f64 = ctx.param_or("threshold", 0.0);
    let second = Duration::from_secs(1);
    let readings = ctx.source::<Reading>("readings");
    match job.as_str() {
        "max" => top(&readings.max_by_key_and_window(length, second)),
        "custom-max" => top(&readings.reduce_by_key_and_window(f64::max, length, second)),
        "update-state" => top(&readings.update_state_by_key(averaged)),
        "map-with-state" => readings
            .map_with_state(move |sensor, value, average: &mut State<'_, f64>| {
                // A sensor that times out has no value, and nothing to tell.
                let value = value?;
                let next = average.get().map_or(value, |before| moved(before, value));
                average.update(next);
                (next >= threshold).then(|| (sensor.to_owned(), next))
            })
            .timeout(timeout)
            .sink("out"),
        other => ctx.refuse(format!("there is no job `{other}`")),
    }
}

/// The first ten.
fn top(values: &DStream<Reading>) {
    values.top_by(10, |(sensor, value)| (Reverse(value), sensor)).sink("out");
}

fn moved(average: f64, value: f64) -> f64 {
    A * value + (1.0 - A) * average
}

/// The average after these values.
fn averaged(values: Values<'_, f64>, average: Option<f64>) -> Option<f64> {
    values.into_iter().fold(average, |average, value| Some(average.map_or(value, |average| moved(average, value))))
}
