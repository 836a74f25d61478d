//! An exponentially weighted moving average per sensor, the highest first.
//!
//! A line is `sensorId,value`. The first value is the first average; each one after it moves the average by 0.3 of the way.
//! The setting `top` says how many sensors come out (default 10; 0 = all).

use std::cmp::Reverse;

use millpond::{RowError, StreamingContext, text};

millpond::job!(ewma);

/// How far a value moves the average.
const A: f64 = 0.3;

/// The dataflow.
pub fn ewma(ctx: &mut StreamingContext) {
    let top: usize = ctx.param_or("top", 10);
    let averages = ctx
        .text("readings")
        .try_map::<(String, f64)>(reading)
        .update_state_by_key(|values, average: Option<f64>| averaged(average, values))
        .columns(["sensor", "average"]);
    let ordered = match top {
        0 => averages.sort_by(|(sensor, average)| (Reverse(average), sensor)),
        top => averages.top_by(top, |(sensor, average)| (Reverse(average), sensor)),
    };
    ordered.sink("averages");
}

/// What a line says.
fn reading(line: &str) -> Result<(&str, f64), RowError> {
    let (sensor, value) = text::split_once(line, ',').ok_or("expected `sensorId,value`")?;
    Ok((sensor, value.parse()?))
}

/// The average after these values.
fn averaged(average: Option<f64>, values: impl Iterator<Item = f64>) -> Option<f64> {
    values.fold(average, |average, value| Some(average.map_or(value, |average| A * value + (1.0 - A) * average)))
}

#[cfg(test)]
mod tests {
    use millpond::runtime::{Operator, Param};

    use super::*;

    #[test]
    fn a_reading_has_a_sensor_and_a_number() {
        assert_eq!(reading("s1,-2.50").ok(), Some(("s1", -2.5)));
        assert!(reading("s1").is_err());
        assert!(reading("s1,warm").is_err());
    }

    #[test]
    fn the_first_value_is_the_first_average() {
        assert_eq!(averaged(None, [10.0].into_iter()), Some(10.0));
        assert_eq!(averaged(None, [10.0, 20.0].into_iter()), Some(A * 20.0 + (1.0 - A) * 10.0));
        assert_eq!(averaged(Some(4.0), [].into_iter()), Some(4.0));
    }

    #[test]
    fn top_is_ten_unless_set_and_zero_means_all() {
        let limit = |params: &[Param]| {
            millpond_job().plan(params).expect("a plan").nodes.iter().find_map(|node| match &node.operator {
                Operator::Sort(sort) => Some(sort.limit),
                _ => None,
            })
        };
        assert_eq!(limit(&[]), Some(Some(10)));
        assert_eq!(limit(&[Param { name: "top".to_owned(), value: "0".to_owned() }]), Some(None));
    }
}
