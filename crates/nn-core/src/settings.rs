//! Configuration files of other programs: no key that could change the result is passed over.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::UnknownSettings;

/// Role of a key of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingRole {
    /// Whoever reads the file honours it, or refuses its value by name.
    Used,
    /// Nothing that is computed depends on it, whatever its value.
    Harmless,
    /// Changes what is computed in a way that is not done here.
    Refused {
        /// Values in JSON that change nothing all the same, beside `null`, `false` and what is empty.
        unless: &'static [&'static str],
        /// Way out for the user, as the end of a sentence.
        advice: &'static str,
    },
}

/// A key of a configuration file that keeps it from being used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A key whose meaning is known and not supported.
    #[error("`{key}` is {value} in `{file}`; {advice}")]
    Refused {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Its value, in JSON.
        value: String,
        /// Way out for the user.
        advice: &'static str,
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

/// Checks every key of `settings`, which come from `file`, against `table`. Returns the unknown ones that are passed over:
/// those with a value that asks for nothing (`null`, `false`, empty), and under [`UnknownSettings::Ignore`] all.
///
/// # Errors
/// [`SettingError`] for a key of [`SettingRole::Refused`] with another value than its harmless ones, and for an unknown one
/// that asks for something.
pub fn check_settings(
    file: &Path,
    table: &[(&str, SettingRole)],
    settings: &Map<String, Value>,
    unknown: UnknownSettings,
) -> Result<Vec<String>, SettingError> {
    let (mut passed_over, mut asking) = (Vec::new(), Vec::new());
    for (key, value) in settings {
        match table.iter().find(|(name, _)| name == key).map(|&(_, role)| role) {
            Some(SettingRole::Used | SettingRole::Harmless) => {}
            Some(SettingRole::Refused { unless, advice }) => {
                let value_text = value.to_string();
                if !asks_for_nothing(value) && !unless.contains(&value_text.as_str()) {
                    let (file, key) = (file.to_owned(), key.clone());
                    return Err(SettingError::Refused { file, key, value: value_text, advice });
                }
            }
            None if unknown == UnknownSettings::Refuse && !asks_for_nothing(value) => {
                asking.push(format!("`{key}` ({value})"));
            }
            None => passed_over.push(key.clone()),
        }
    }
    if asking.is_empty() {
        return Ok(passed_over);
    }
    Err(SettingError::Unknown { file: file.to_owned(), keys: asking.join(", ") })
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

    const TABLE: &[(&str, SettingRole)] = &[
        ("r", SettingRole::Used),
        ("version", SettingRole::Harmless),
        ("pretraining_tp", SettingRole::Refused { unless: &["1"], advice: "merge the shards" }),
    ];

    fn check(settings: &Value, unknown: UnknownSettings) -> Result<Vec<String>, String> {
        let file = Path::new("config.json");
        check_settings(file, TABLE, settings.as_object().unwrap(), unknown).map_err(|error| error.to_string())
    }

    #[test]
    fn harmless_values_pass_and_others_are_refused_by_name() {
        for value in [json!(null), json!(false), json!([]), json!({}), json!(""), json!(1)] {
            assert_eq!(check(&json!({"r": 1, "pretraining_tp": value}), UnknownSettings::Refuse), Ok(vec![]));
        }
        for stance in [UnknownSettings::Refuse, UnknownSettings::Ignore] {
            let error = check(&json!({"version": 7, "pretraining_tp": 2}), stance).unwrap_err();
            assert_eq!(error, "`pretraining_tp` is 2 in `config.json`; merge the shards");
        }
    }

    #[test]
    fn an_unknown_key_is_listed_where_it_asks_for_nothing_and_refused_where_it_asks_for_something() {
        let idle = json!({"new": null, "newer": false});
        assert_eq!(check(&idle, UnknownSettings::Refuse).unwrap(), ["new", "newer"]);
        let asking = json!({"new": null, "use_it": true, "size": 0});
        let error = check(&asking, UnknownSettings::Refuse).unwrap_err();
        assert!(error.contains("`use_it` (true), `size` (0)") && !error.contains("`new`"), "{error}");
        assert!(error.contains("--ignore_unknown_settings"), "{error}");
        assert_eq!(check(&asking, UnknownSettings::Ignore).unwrap(), ["new", "use_it", "size"]);
    }
}
