//! The variant in settings, and in `adapter_config.json`.

use serde::{Deserialize, Serialize};

use crate::error::LoraError;
use crate::variant::Variant;
use crate::variants;

/// Name of an adapter variant, one of [`VariantName::known`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VariantName(String);

impl VariantName {
    /// Lists the names of all variants.
    pub fn known() -> impl Iterator<Item = &'static str> {
        variants::all().map(Variant::name)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Finds the variant of this name.
    pub(crate) fn get(&self) -> Result<&'static dyn Variant, LoraError> {
        variants::named(&self.0).ok_or_else(|| LoraError::Variant { name: self.0.clone() })
    }
}

impl Default for VariantName {
    /// Returns plain LoRA.
    fn default() -> Self {
        variants::LORA.name().into()
    }
}

impl From<&str> for VariantName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// A variant as PEFT has it: a field that is `true`, such as `use_dora`.
pub(crate) mod peft_field {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    use super::VariantName;
    use crate::variant::Variant;
    use crate::variants;

    pub(crate) fn serialize<S: Serializer>(name: &VariantName, serializer: S) -> Result<S::Ok, S::Error> {
        let field = variants::named(&name.0).and_then(Variant::config_field);
        serializer.collect_map(field.map(|field| (field, true)))
    }

    /// Takes the fields that are left. Two variants at once are kept as a name that the configuration refuses.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VariantName, D::Error> {
        let left = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let is_on = |field: &str| left.get(field).and_then(Value::as_bool).unwrap_or_default();
        let asked: Vec<&str> =
            variants::all().filter_map(Variant::config_field).filter(|field| is_on(field)).collect();
        Ok(match asked.as_slice() {
            [] => VariantName::default(),
            [field] => {
                let known = variants::all().find(|variant| variant.config_field() == Some(field));
                known.map_or(*field, |variant| variant.name()).into()
            }
            several => several.join("` and `").as_str().into(),
        })
    }
}
