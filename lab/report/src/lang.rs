//! The language of the fixed text.

use clap::ValueEnum;
use results::{Experiment, Variant};

/// A language that the templates are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English.
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// Returns its code in HTML, Word and typst.
    pub(crate) fn code(self) -> &'static str {
        self.pick("en", "zh")
    }

    /// Picks one of two texts that need no formatting.
    pub(crate) fn pick(self, en: &'static str, zh: &'static str) -> &'static str {
        if self == Self::En { en } else { zh }
    }

    /// Joins items: "a, b and c".
    pub(crate) fn list(self, items: &[String]) -> String {
        let [head @ .., last] = items else { return String::new() };
        let Some(before) = head.last() else { return last.clone() };
        if self == Self::En {
            return format!("{} and {last}", head.join(", "));
        }
        // Between Chinese and Latin letters stands a space.
        let space = |letter: Option<char>| if letter.is_some_and(|one| one.is_ascii()) { " " } else { "" };
        let (left, right) = (space(before.chars().last()), space(last.chars().next()));
        format!("{}{left}和{right}{last}", head.join("、"))
    }

    /// Joins labels, in quotes where no spaces tell names from the sentence.
    pub(crate) fn names(self, labels: &[String]) -> String {
        match self {
            Self::En => self.list(labels),
            Self::Zh => self.list(&labels.iter().map(|label| format!("“{label}”")).collect::<Vec<_>>()),
        }
    }

    /// Returns the label of a variant; its name where it has none.
    pub(crate) fn label(self, variant: &Variant) -> String {
        let label = self.of(&variant.label_en, &variant.label_zh);
        plain(if label.is_empty() { &variant.name } else { label })
    }

    /// Returns the sentence about a variant.
    pub(crate) fn what(self, variant: &Variant) -> String {
        plain(self.of(&variant.what_en, &variant.what_zh))
    }

    fn of<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        if self == Self::Zh && !zh.is_empty() { zh } else { en }
    }

    /// Returns the first letters of the commit, and a note where the checkout had changes beyond it.
    pub(crate) fn commit(self, experiment: &Experiment, letters: usize) -> Option<String> {
        let commit = experiment.environment.commit.as_ref()?;
        let name: String = commit.split(' ').next().unwrap_or_default().chars().take(letters).collect();
        let changes = if experiment.has_changes() {
            self.pick(" with changes", "（含未提交的改动）")
        } else {
            ""
        };
        Some(format!("{name}{changes}"))
    }
}

/// Removes from the text of others what means something in templates: emphasis, code, the bar between languages, new lines.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "'").replace("**", "*").replace(['\n', '‖'], " ")
}

/// A fragment in both languages, formatted in the one that is asked for.
macro_rules! say {
    ($lang:expr, $en:literal, $zh:literal $(,)?) => {
        match $lang {
            $crate::lang::Lang::En => format!($en),
            $crate::lang::Lang::Zh => format!($zh),
        }
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_read_as_a_sentence() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(Lang::En.list(&names), "a, b and c");
        assert_eq!(Lang::Zh.list(&names), "a、b 和 c");
        assert_eq!(Lang::Zh.names(&names), "“a”、“b”和“c”");
        assert_eq!((Lang::En.list(&names[..1]), Lang::En.list(&[])), ("a".to_owned(), String::new()));
    }
}
