//! Record formats: one file each.

mod alpaca;
mod messages;
mod text;

use serde_json::{Map, Value};

use crate::record_format::Format;
use crate::{Templates, TrainingText};

pub use alpaca::Record;

/// Known formats. The first that detects a record reads it; what none detects is refused by Alpaca's.
const FORMATS: &[&dyn Format] = &[&alpaca::Alpaca, &text::Text, &messages::Messages];

/// Renders a record by the format that detects it.
///
/// # Errors
/// The format's sentence on a record that cannot be used.
pub(crate) fn render(record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String> {
    let format = FORMATS.iter().find(|format| format.detect(&record)).unwrap_or(&FORMATS[0]);
    format.render(record, templates)
}
