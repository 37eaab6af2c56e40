//! Values of a JSON configuration, by name: the one place where their types are checked.

use std::path::Path;

use nn_core::{SettingError, SettingTable, Settings, UnknownSettings, short};
use serde_json::{Map, Value};

use crate::{ModelError, TokenIds};

/// Keys and values of `config.json`, or of an object in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Key of the object in `config.json`; empty for the whole.
    within: &'static str,
}

impl<'a> Fields<'a> {
    /// Looks at a whole `config.json`.
    pub(crate) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, within: "" }
    }

    /// Returns the object of this key; `None` where it is absent, null or empty.
    pub(crate) fn object(&self, key: &'static str) -> Result<Option<Self>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok((!map.is_empty()).then_some(Self { map, within: key })),
            Some(other) => Err(ModelError::config(key, short(other), "it has to be an object")),
        }
    }

    /// Checks every key against `table`; returns what a user should hear of.
    pub(crate) fn check(
        &self,
        table: &SettingTable,
        unknown: UnknownSettings,
    ) -> Result<Vec<String>, SettingError> {
        self.settings().check(table, unknown)
    }

    /// Returns a key as a message names it: `rope_scaling.factor`.
    pub(crate) fn name(&self, key: &str) -> String {
        self.settings().name(key)
    }

    fn settings(&self) -> Settings<'a> {
        Settings { file: Path::new("config.json"), within: self.within, fields: self.map }
    }

    /// Returns a value; null is none.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Refuses the value of a key.
    pub(crate) fn refuse(&self, key: &str, expected: impl Into<String>) -> ModelError {
        let actual = self.get(key).map_or_else(|| "missing".to_owned(), short);
        ModelError::config(self.name(key), actual, expected)
    }

    fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.refuse(key, expected))
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ModelError> {
        self.read(key, Value::as_i64, "it has to be a whole number")
    }

    pub(crate) fn needed(&self, key: &str) -> Result<i64, ModelError> {
        self.integer(key)?.ok_or_else(|| self.refuse(key, "the model needs it"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.read(key, Value::as_f64, "it has to be a number")
    }

    /// Reads a truth value; absent is false.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ModelError> {
        Ok(self.read(key, Value::as_bool, "it has to be true or false")?.unwrap_or(false))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        self.read(key, Value::as_str, "it has to be a text")
    }

    /// Reads one token id or several.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Option<TokenIds>, ModelError> {
        let ids = |value: &Value| serde_json::from_value(value.clone()).ok();
        self.read(key, ids, "it has to be a token id or a list of them")
    }
}
