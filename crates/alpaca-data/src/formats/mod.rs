//! Record formats: one file each.

mod alpaca;
mod messages;
mod text;

use serde_json::{Map, Value};

use crate::{Templates, TrainingText};

pub use alpaca::Record;

/// Known formats. The first that detects a record reads it; what none detects is refused by Alpaca's.
const FORMATS: &[&dyn Format] = &[&alpaca::Alpaca, &text::Text, &messages::Messages];

/// Form of records: detects its own and renders them as text to train on.
trait Format: Sync {
    /// Looks for the field that tells this format from the others.
    fn detect(&self, record: &Map<String, Value>) -> bool;

    /// Renders a record.
    ///
    /// # Errors
    /// A sentence without its subject (`has no …`): the reader of the file adds which record it is.
    fn render(&self, record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String>;
}

/// Renders a record by the format that detects it.
///
/// # Errors
/// The format's sentence on a record that cannot be used.
pub(crate) fn render(record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String> {
    let format = FORMATS.iter().find(|format| format.detect(&record)).unwrap_or(&FORMATS[0]);
    format.render(record, templates)
}
