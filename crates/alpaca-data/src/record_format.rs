//! The interface of a record format.

use serde_json::{Map, Value};

use crate::{Templates, TrainingText};

/// Form of records: detects its own and renders them as text to train on.
pub(crate) trait Format: Sync {
    /// Looks for the field that tells this format from the others.
    fn detect(&self, record: &Map<String, Value>) -> bool;

    /// Lists columns that other programs train on and this format has no place for: to drop one that is filled would change
    /// what the record says.
    fn unread(&self) -> &'static [&'static str];

    /// Renders a record.
    ///
    /// # Errors
    /// A sentence without its subject (`has no …`): the reader of the file adds which record it is.
    fn render(&self, record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String>;
}
