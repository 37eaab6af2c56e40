//! Configuration files of other programs: no key that could change the result is passed over.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::UnknownSettings;

/// Role of a key of a configuration file.
#[derive(Debug, Clone, Copy)]
pub enum SettingRole {
    /// Whoever reads the file honours it, or refuses its value by name.
    Used,
    /// Nothing that is computed depends on it, whatever its value.
    Harmless,
    /// Changes what others compute in training: a value other than 0 is noted, with this effect.
    Noted(&'static str),
    /// Changes what is computed in a way that is not done here: refused with this reason, unless its value asks for nothing, or
    /// the function accepts it.
    Only(fn(&Value) -> bool, &'static str),
}

/// Keys of a file, each with its role.
pub type SettingTable = [(&'static str, SettingRole)];

impl SettingRole {
    /// Makes the role of a key that is refused whatever it asks for.
    pub const fn refused(reason: &'static str) -> Self {
        Self::Only(|_| false, reason)
    }
}

/// A key of a configuration file that keeps it from being used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A key whose meaning is known and not supported.
    #[error("`{key}` is {value} in `{file}`; {reason}")]
    Refused {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Its value, in JSON.
        value: String,
        /// What is supported, or a way out.
        reason: &'static str,
    },
    /// Keys whose meaning is unknown, with values that could change the result.
    #[error(
        "`{file}` has settings that are unknown here and could change the result: {keys}; --ignore_unknown_settings reads the file without them"
    )]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The keys with their values.
        keys: String,
    },
}

impl SettingError {
    /// Names another file.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        let (Self::Refused { file, .. } | Self::Unknown { file, .. }) = &mut self;
        path.clone_into(file);
        self
    }
}

/// Settings of a file that are held against a table.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The file.
    pub file: &'a Path,
    /// Key of the object in it that the settings are of; empty for the whole file.
    pub within: &'a str,
    /// Keys and values.
    pub fields: &'a Map<String, Value>,
}

impl Settings<'_> {
    /// Checks every key against `table`. Returns notes for the user: on keys of [`SettingRole::Noted`], and on the unknown ones
    /// that are passed over: those with a value that asks for nothing (`null`, `false`, empty), and under
    /// [`UnknownSettings::Ignore`] all.
    ///
    /// # Errors
    /// [`SettingError`] for a key of [`SettingRole::Only`] with a value that it does not accept, and for unknown ones that ask for
    /// something.
    pub fn check(self, table: &SettingTable, unknown: UnknownSettings) -> Result<Vec<String>, SettingError> {
        let (mut notes, mut asking) = (Vec::new(), Vec::new());
        for (key, value) in self.fields {
            let role = table.iter().find(|(known, _)| known == key).map(|&(_, role)| role);
            let (key, nothing) = (self.name(key), asks_for_nothing(value));
            let is = format!("`{key}` is {}", short(value));
            match role {
                Some(SettingRole::Used | SettingRole::Harmless) => {}
                Some(SettingRole::Noted(_)) if nothing || value.as_f64() == Some(0.0) => {}
                Some(SettingRole::Noted(effect)) => notes.push(format!("{is}: {effect}")),
                Some(SettingRole::Only(accepts, _)) if nothing || accepts(value) => {}
                Some(SettingRole::Only(_, reason)) => {
                    let (file, value) = (self.file.to_owned(), short(value));
                    return Err(SettingError::Refused { file, key, value, reason });
                }
                None if unknown == UnknownSettings::Refuse && !nothing => {
                    asking.push(format!("`{key}` ({})", short(value)));
                }
                None => notes.push(format!("{is}: an unknown setting, ignored")),
            }
        }
        if asking.is_empty() {
            return Ok(notes);
        }
        Err(SettingError::Unknown { file: self.file.to_owned(), keys: asking.join(", ") })
    }

    /// Returns a key as a message names it: `rope_scaling.factor`.
    pub fn name(&self, key: &str) -> String {
        if self.within.is_empty() { key.to_owned() } else { format!("{}.{key}", self.within) }
    }
}

/// Cuts a value short for a message.
pub fn short(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// Checks for a value that cannot switch anything on: `null`, `false`, and an empty text, list or object.
pub fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &SettingTable = &[
        ("r", SettingRole::Used),
        ("version", SettingRole::Harmless),
        ("dropout", SettingRole::Noted("there is none")),
        ("pretraining_tp", SettingRole::Only(|value| value == 1, "merge the shards")),
        ("experts", SettingRole::refused("there are none")),
    ];

    fn check(settings: &Value, unknown: UnknownSettings) -> Result<Vec<String>, String> {
        let fields = settings.as_object().unwrap();
        let settings = Settings { file: Path::new("config.json"), within: "", fields };
        settings.check(TABLE, unknown).map_err(|error| error.to_string())
    }

    #[test]
    fn harmless_values_pass_and_others_are_refused_by_name() {
        for value in [json!(null), json!(false), json!([]), json!({}), json!(""), json!(1)] {
            assert_eq!(check(&json!({"r": 1, "pretraining_tp": value}), UnknownSettings::Refuse), Ok(vec![]));
        }
        for stance in [UnknownSettings::Refuse, UnknownSettings::Ignore] {
            let error = check(&json!({"version": 7, "pretraining_tp": 2}), stance).unwrap_err();
            assert_eq!(error, "`pretraining_tp` is 2 in `config.json`; merge the shards");
            assert!(check(&json!({"experts": 1}), stance).is_err());
            let notes = check(&json!({"dropout": 0.1}), stance).unwrap();
            assert_eq!(notes, ["`dropout` is 0.1: there is none"]);
            assert_eq!(check(&json!({"dropout": 0.0}), stance), Ok(vec![]));
        }
    }

    #[test]
    fn an_unknown_key_is_listed_where_it_asks_for_nothing_and_refused_where_it_asks_for_something() {
        let idle = json!({"new": null, "newer": false});
        let ignored = |key: &str, value| format!("`{key}` is {value}: an unknown setting, ignored");
        assert_eq!(
            check(&idle, UnknownSettings::Refuse).unwrap(),
            [ignored("new", "null"), ignored("newer", "false")]
        );
        let asking = json!({"new": null, "use_it": true, "size": 0});
        let error = check(&asking, UnknownSettings::Refuse).unwrap_err();
        assert!(error.contains("`use_it` (true), `size` (0)") && !error.contains("`new`"), "{error}");
        assert!(error.contains("--ignore_unknown_settings"), "{error}");
        assert_eq!(check(&asking, UnknownSettings::Ignore).unwrap().len(), 3);
    }

    #[test]
    fn a_key_within_an_object_is_named_with_it() {
        let fields = json!({"experts": 2});
        let file = Path::new("a");
        let settings = Settings { file, within: "rope", fields: fields.as_object().unwrap() };
        let error = settings.check(TABLE, UnknownSettings::Refuse).unwrap_err().in_file(Path::new("b"));
        assert_eq!(error.to_string(), "`rope.experts` is 2 in `b`; there are none");
    }
}
