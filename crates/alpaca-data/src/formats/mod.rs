//! Record formats: one file each.

mod alpaca;
mod messages;
mod text;

use serde_json::{Map, Value};

use crate::record_format::Format;

pub use alpaca::{Record, unread_columns};

/// Known formats. The first that detects a record reads it; what none detects is refused by Alpaca's.
const FORMATS: &[&dyn Format] = &[ALPACA, &text::Text, &messages::Messages];

/// Alpaca's format, which refuses what none detects.
pub(crate) const ALPACA: &dyn Format = &alpaca::Alpaca;

/// Returns the format of a record.
pub(crate) fn detect(record: &Map<String, Value>) -> &'static dyn Format {
    FORMATS.iter().copied().find(|format| format.detect(record)).unwrap_or(ALPACA)
}

/// Checks whether any format knows the record as its own.
pub(crate) fn is_record(record: &Map<String, Value>) -> bool {
    FORMATS.iter().any(|format| format.detect(record))
}
