//! The language of the fixed text.

use clap::ValueEnum;

/// A language the templates are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// English.
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// The code of HTML's `lang`, Word's and typst's.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// One of two texts that need no formatting.
    pub fn pick(self, en: &'static str, zh: &'static str) -> &'static str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    /// Things in a row: "a, b and c".
    pub fn list(self, items: &[String]) -> String {
        let [head @ .., last] = items else { return String::new() };
        let Some(before) = head.last() else { return last.clone() };
        match self {
            Self::En => format!("{} and {last}", head.join(", ")),
            Self::Zh => {
                // Between Chinese and Latin letters stands a space.
                let space =
                    |letter: Option<char>| if letter.is_some_and(|one| one.is_ascii()) { " " } else { "" };
                let (left, right) = (space(before.chars().last()), space(last.chars().next()));
                format!("{}{left}和{right}{last}", head.join("、"))
            }
        }
    }

    /// Labels in a row, in quotes where names are not told from the sentence by spaces.
    pub fn names(self, labels: &[String]) -> String {
        match self {
            Self::En => self.list(labels),
            Self::Zh => self.list(&labels.iter().map(|label| format!("“{label}”")).collect::<Vec<_>>()),
        }
    }
}

/// A sentence in both languages, formatted in the one that is asked for: the two stand beside each other, so that a
/// change of one is not made without the other.
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
    fn names_in_a_row_read_as_a_sentence() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(Lang::En.list(&names), "a, b and c");
        assert_eq!(Lang::Zh.list(&names), "a、b 和 c");
        assert_eq!(Lang::Zh.names(&names), "“a”、“b”和“c”");
        assert_eq!((Lang::En.list(&names[..1]), Lang::En.list(&[])), ("a".to_owned(), String::new()));
    }
}
