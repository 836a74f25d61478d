//! What a call hands over for the job's accumulators: the import `accumulators.add`.
//!
//! The import only takes the list in, once a call; when the call is over and its answer is good, the list is checked against the
//! plan, since only then it counts. A call that fails has added nothing.

use millpond_core::accumulator::Update;
use millpond_core::{Accumulator, Number};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::bindings::job::millpond::plugin::accumulators as contract;
use crate::call::HostState;
use crate::convert::plan::ACCUMULATORS_MAX;
use crate::error::{Error, Place, Result};

/// The interface's name; world `job` may import it.
pub(crate) const ACCUMULATORS_INTERFACE: &str = "millpond:plugin/accumulators@0.1.0";

/// The import was used as the contract does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) &'static str);

/// What the call at hand has handed over.
#[derive(Debug, Default)]
pub(crate) enum HandedOver {
    /// No batch is worked on.
    #[default]
    NotNow,
    /// Nothing so far.
    Nothing,
    Updates(Vec<contract::Update>),
}

/// Gives components the import.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(ACCUMULATORS_INTERFACE)?.func_wrap("add", add)
}

fn add(mut store: StoreContextMut<'_, HostState>, (updates,): (Vec<contract::Update>,)) -> wasmtime::Result<()> {
    let handed_over = &mut store.data_mut().handed_over;
    match handed_over {
        HandedOver::NotNow => Err(Misuse("it came while no batch was worked on").into()),
        HandedOver::Updates(_) => Err(Misuse("it came twice in one call").into()),
        HandedOver::Nothing if updates.len() > ACCUMULATORS_MAX => {
            Err(Misuse("it has more updates than a plan can have accumulators").into())
        }
        HandedOver::Nothing => {
            *handed_over = HandedOver::Updates(updates);
            Ok(())
        }
    }
}

/// Checks what a call handed over.
pub(crate) fn check(place: &Place, declared: &[Accumulator], handed_over: HandedOver) -> Result<Vec<Update>> {
    let HandedOver::Updates(raw) = handed_over else { return Ok(Vec::new()) };
    let mut updates: Vec<Update> = Vec::with_capacity(raw.len());
    for update in raw {
        let wrong = |reason| Err(Error::Accumulator { place: Box::new(place.clone()), reason });
        let number = match update.number {
            contract::Number::Int64(value) => Number::Int64(value),
            contract::Number::Float64(value) => Number::Float64(value),
        };
        let accumulator = update.accumulator as usize;
        let Some(Accumulator { name, kind }) = declared.get(accumulator) else {
            return wrong(format!("there is no accumulator {accumulator}: the plan has {}", declared.len()));
        };
        if updates.iter().any(|earlier| earlier.accumulator == accumulator) {
            return wrong(format!("accumulator `{name}` comes twice"));
        }
        if !kind.takes(number) {
            let found = match number {
                Number::Int64(value) => format!("the int64 {value}"),
                Number::Float64(value) => format!("the float64 {value:?}"),
            };
            return wrong(format!("accumulator `{name}` is a {}, and got {found}", kind.name()));
        }
        updates.push(Update { accumulator, number });
    }
    Ok(updates)
}
