//! What the job file asked for.

use std::cell::RefCell;
use std::rc::Rc;

use crate::bindings::exports::millpond::plugin::job_guest::{Batch, Param};
use crate::bindings::millpond::plugin::types::ColumnData;

pub struct Settings {
    pub graph: String,
    pub behaviour: String,
    pub call: String,
    pub on: Option<String>,
    pub bytes: usize,
}

thread_local! {
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

impl Settings {
    pub fn new(params: Vec<Param>) -> Self {
        let find = |name: &str| params.iter().find(|param| param.name == name).map(|param| param.value.clone());
        Self {
            graph: find("graph").unwrap_or_else(|| "pass".into()),
            behaviour: find("behaviour").unwrap_or_default(),
            call: find("in").unwrap_or_else(|| "run-stage".into()),
            on: find("on"),
            bytes: find("bytes").and_then(|text| text.parse().ok()).unwrap_or(1 << 20),
        }
    }

    /// Whether this call is the one, and the batch has what it waits for.
    pub fn misbehaves(&self, call: &str, batch: &Batch) -> bool {
        !self.behaviour.is_empty() && self.call == call && self.on.as_ref().is_none_or(|text| has_text(batch, text))
    }
}

fn has_text(batch: &Batch, text: &str) -> bool {
    let Some(ColumnData::Utf8(data)) = batch.columns.first().map(|column| &column.data) else { return false };
    data.offsets.windows(2).any(|pair| &data.bytes[pair[0] as usize..pair[1] as usize] == text.as_bytes())
}

pub fn set(settings: Settings) {
    SETTINGS.set(Some(Rc::new(settings)));
}

pub fn get() -> Rc<Settings> {
    SETTINGS.with_borrow(|settings| settings.clone().expect("plan() comes first"))
}
