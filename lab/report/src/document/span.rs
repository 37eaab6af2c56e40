//! Text inside a paragraph or a cell.

/// A piece of text with one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Span {
    /// Plain.
    Text(String),
    /// Emphasised.
    Strong(String),
    /// Code, in letters of one width.
    Code(String),
    /// The first word that differs.
    Mark(String),
    /// A new line within the paragraph.
    Break,
}

impl Span {
    /// Returns its characters.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Strong(text) | Self::Code(text) | Self::Mark(text) => text,
            Self::Break => "\n",
        }
    }
}

/// Parses a template's sentence: `**…**` is emphasis and backticks are code. What other people wrote (answers of models, error
/// messages) never goes through here; it is a [`Span::Text`] of its own.
pub(crate) fn spans(sentence: &str) -> Vec<Span> {
    let mut found = Vec::new();
    for (index, part) in sentence.split('`').enumerate() {
        if index % 2 == 1 {
            found.push(Span::Code(part.to_owned()));
            continue;
        }
        for (index, part) in part.split("**").enumerate().filter(|(_, part)| !part.is_empty()) {
            let text = part.to_owned();
            found.push(if index % 2 == 1 { Span::Strong(text) } else { Span::Text(text) });
        }
    }
    found
}

/// Returns the characters of spans, without their looks.
pub(crate) fn plain_text(spans: &[Span]) -> String {
    spans.iter().map(Span::text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_looks() {
        let text = |text: &str| Span::Text(text.to_owned());
        assert_eq!(
            spans("a **b** `c**d` e"),
            [text("a "), Span::Strong("b".into()), text(" "), Span::Code("c**d".into()), text(" e"),]
        );
    }
}
