//! Regular expressions as Python has them, and PEFT's tables of them.

use std::fmt;
use std::marker::PhantomData;

use fancy_regex::Regex;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::LoraError;

/// A regular expression with look-around and back-references, which has to match from end to end (`re.fullmatch`).
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    field: &'static str,
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `text`, a value of PEFT's `field`.
    ///
    /// # Errors
    /// [`LoraError::Pattern`] when it is none.
    pub(crate) fn new(field: &'static str, text: &str) -> Result<Self, LoraError> {
        Self::compile(field, text, &format!(r"\A(?:{text})\z"))
    }

    /// Compiles a key of `rank_pattern` or `alpha_pattern`, which matches the end of a path behind a dot, or all of it
    /// (`peft/utils/other.py`, `get_pattern_key`).
    ///
    /// # Errors
    /// [`LoraError::Pattern`] when it is no regular expression.
    pub(crate) fn of_ending(field: &'static str, text: &str) -> Result<Self, LoraError> {
        Self::compile(field, text, &format!(r"\A(?:.*\.)?(?:{text})\z"))
    }

    /// Compiles an expression that has to match from the start; its first group is an index (`check_target_module_exists`).
    ///
    /// # Errors
    /// [`LoraError::Pattern`] when it is no regular expression.
    pub(crate) fn of_index(field: &'static str, text: &str) -> Result<Self, LoraError> {
        Self::compile(field, text, &format!(r"\A(?:.*?\.)?(?:{text})\.(?P<idx>\d+)\."))
    }

    fn compile(field: &'static str, text: &str, expression: &str) -> Result<Self, LoraError> {
        match Regex::new(expression) {
            Ok(regex) => Ok(Self { field, text: text.to_owned(), regex }),
            Err(source) => {
                Err(LoraError::Pattern { field, pattern: text.to_owned(), source: Box::new(source) })
            }
        }
    }

    /// Returns the expression as the file has it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Checks whether `path` matches.
    ///
    /// # Errors
    /// [`LoraError::Pattern`] when the search is given up: the expression takes too many attempts.
    pub(crate) fn matches(&self, path: &str) -> Result<bool, LoraError> {
        self.regex.is_match(path).map_err(|source| self.failed(source))
    }

    /// Returns the number that an expression of [`Pattern::of_index`] finds in `path`.
    ///
    /// # Errors
    /// As [`Pattern::matches`].
    pub(crate) fn index(&self, path: &str) -> Result<Option<usize>, LoraError> {
        let found = self.regex.captures(path).map_err(|source| self.failed(source))?;
        Ok(found.and_then(|found| found.name("idx")?.as_str().parse().ok()))
    }

    fn failed(&self, source: fancy_regex::Error) -> LoraError {
        LoraError::Pattern { field: self.field, pattern: self.text.clone(), source: Box::new(source) }
    }
}

/// Values for paths that match a pattern, in the order of the file: PEFT takes the first that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Patterns<V>(Vec<(String, V)>);

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Patterns<V> {
    /// Iterates over patterns and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(String, V)> {
        self.0.iter()
    }

    /// Returns the same patterns with other values.
    pub(crate) fn map(&self, change: impl Fn(&V) -> V) -> Self {
        Self(self.0.iter().map(|(pattern, value)| (pattern.clone(), change(value))).collect())
    }
}

impl<V: Copy> Patterns<V> {
    /// Compiles the patterns of PEFT's `field`.
    pub(crate) fn compile(&self, field: &'static str) -> Result<Vec<(Pattern, V)>, LoraError> {
        self.0.iter().map(|(text, value)| Ok((Pattern::of_ending(field, text)?, *value))).collect()
    }
}

/// Returns the value of the first pattern that matches.
pub(crate) fn first_match<V: Copy>(patterns: &[(Pattern, V)], path: &str) -> Result<Option<V>, LoraError> {
    for (pattern, value) in patterns {
        if pattern.matches(path)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

impl<V> FromIterator<(String, V)> for Patterns<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<V, const N: usize> From<[(String, V); N]> for Patterns<V> {
    fn from(pairs: [(String, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<V: Serialize> Serialize for Patterns<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, value)| (pattern, value)))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Patterns<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Patterns<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of patterns and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Patterns(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_around_and_back_references_work_and_the_whole_path_has_to_match() {
        let matches = |pattern, path| Pattern::new("target_modules", pattern).unwrap().matches(path).unwrap();
        assert!(matches(r".*\.(?!2\b)\d+\.k_proj", "layers.1.k_proj"));
        assert!(!matches(r".*\.(?!2\b)\d+\.k_proj", "layers.2.k_proj"));
        assert!(matches(r"(\w+)\.\1", "a.a") && !matches(r"(\w+)\.\1", "a.b"));
        // Python tries the alternatives until one reaches the end.
        assert!(matches("q|q_proj", "q_proj") && !matches("q_proj", "x.q_proj"));
    }

    #[test]
    fn the_order_of_a_table_is_that_of_the_file() {
        let table: Patterns<i64> = serde_json::from_str(r#"{"z": 1, "a": 2, "m": 3}"#).unwrap();
        assert_eq!(serde_json::to_string(&table).unwrap(), r#"{"z":1,"a":2,"m":3}"#);
        let compiled = table.compile("rank_pattern").unwrap();
        assert_eq!(first_match(&compiled, "x.a").unwrap(), Some(2));
        let both: Patterns<i64> = serde_json::from_str(r#"{".*_proj": 1, "q_proj": 2}"#).unwrap();
        assert_eq!(first_match(&both.compile("rank_pattern").unwrap(), "x.q_proj").unwrap(), Some(1));
    }
}
