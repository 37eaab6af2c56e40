//! Plain text: `{"text": …}`, all of it learnt.

use serde_json::{Map, Value};

use crate::json::take_string;
use crate::record_format::Format;
use crate::{Templates, TrainingText};

pub(super) struct Text;

impl Format for Text {
    fn detect(&self, record: &Map<String, Value>) -> bool {
        record.contains_key("text")
    }

    fn unread(&self) -> &'static [&'static str] {
        &[]
    }

    fn render(&self, mut record: Map<String, Value>, _: &Templates) -> Result<TrainingText, String> {
        let text = take_string(&mut record, "text")?.filter(|text| !text.is_empty());
        Ok(TrainingText::answer(String::new(), &text.ok_or("has an empty `text`")?))
    }
}
