//! A comparison of two models' tokenizers: the ids that each makes of the same texts.

use std::collections::BTreeSet;

use checkpoint::Base;
use llama_tokenizer::LlamaTokenizer;

use crate::FinetuneError;
use crate::merge_order::competing_texts;

/// Texts on which tokenizers that are almost the same part.
const TEXTS: [&str; 20] = [
    "",
    " ",
    "   ",
    "Hello, world!",
    " a space before",
    "  two before, and two behind  ",
    "one  two   three    spaces",
    "line\nbreak\n\ntwo\r\nWindows\n",
    "\n",
    "a\ttab, \t two",
    "1234567890 3.14159 -1e-9 12,345",
    "naïve café — “quotes”, 3½ × 7 °C; e\u{301} is not é",
    "日本語のテキスト，我想在北京工作。",
    "한국어 текст عربى",
    "🙂 👩\u{200d}👩\u{200d}👧 🇫🇷 🚀🚀",
    "I'VE been 'told he's there, isn't it? We'LL see",
    "def f(x):\n    return x ** 2  # squares\n",
    "### Instruction:\nCount to 10.\n\n### Response:\n",
    "\u{2581} is the boundary itself, <0x0A> a word; \u{0} and \u{7f}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Tokens in a row that make a text, so that every merge is tried among its neighbours.
const RUNS: [usize; 2] = [3, 8];
/// Ids of a text that a message shows.
const SHOWN: usize = 24;

/// Two tokenizers that make the same ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenAgreement {
    /// Texts that were compared.
    pub texts: usize,
    /// What differs though nothing is wrong, in words.
    pub notes: Vec<String>,
}

/// Compares the ids that the tokenizers of two models make of difficult texts, of each added token within a text, and of
/// every token of the vocabulary beside its neighbours. A GGUF file is held against what its form can say; the rest is
/// noted.
///
/// # Errors
/// [`FinetuneError::OtherTokens`] for the first text of which they make different ids; when one has no tokenizer, or it
/// fails.
pub fn compare_tokenizers(reference: &Base, compared: &Base) -> Result<TokenAgreement, FinetuneError> {
    let (expected, actual) = (reference.files().tokenizer()?, compared.files().tokenizer()?);
    let in_gguf = |base: &Base| base.files().has_gguf_tokenizer();
    // Only one of them has the limits of that form: the other is taken as it would be in it.
    let (mut ours, mut theirs) = (None, None);
    if in_gguf(reference) != in_gguf(compared) {
        let plain = if in_gguf(reference) { &actual } else { &expected };
        let limited = plain.with_gguf_prefix()?;
        (ours, theirs) = if in_gguf(reference) { (None, limited) } else { (limited, None) };
    }
    let limited = (ours.as_ref().unwrap_or(&expected), theirs.as_ref().unwrap_or(&actual));
    let mut texts = texts(&expected, &actual)?;
    texts.extend(competing_texts(limited.0, limited.1)?);
    let mut agreement = TokenAgreement { texts: texts.len(), notes: Vec::new() };
    for text in &texts {
        let (want, got) = (limited.0.encode(text, true)?, limited.1.encode(text, true)?);
        if want != got {
            return Err(FinetuneError::OtherTokens {
                reference: reference.name.clone(),
                compared: compared.name.clone(),
                text: text.as_str().into(),
                expected: shown(&want).into(),
                actual: shown(&got).into(),
                vocabularies: vocabularies(&expected, &actual)
                    .map_or_else(String::new, |it| format!("; {it}")),
            });
        }
    }
    if ours.is_some() || theirs.is_some() {
        let mut differing = Vec::new();
        for text in &texts {
            if expected.encode(text, true)? != actual.encode(text, true)? {
                differing.push(format!("{text:?}"));
            }
        }
        differing.truncate(3);
        agreement.notes.push(format!(
            "a GGUF file puts a space before every text between special tokens, whatever it begins with, and the tokenizer of \
             the other model does not: they differ on texts such as {}",
            differing.join(", ")
        ));
    }
    agreement.notes.extend(vocabularies(&expected, &actual));
    Ok(agreement)
}

/// Makes the texts for two tokenizers, none of them twice.
fn texts(expected: &LlamaTokenizer, actual: &LlamaTokenizer) -> Result<BTreeSet<String>, FinetuneError> {
    let mut texts: BTreeSet<String> = TEXTS.map(str::to_owned).into();
    for (_, token) in expected.added_tokens().into_iter().chain(actual.added_tokens()) {
        texts.insert(format!("before {token}behind{token} {token}"));
        texts.insert(token);
    }
    let ids: Vec<i64> = (0..expected.vocab_size() as i64).collect();
    for run in RUNS.into_iter().flat_map(|len| ids.chunks(len)) {
        texts.insert(expected.decode(run, true)?);
    }
    Ok(texts)
}

/// Says in what two vocabularies differ; `None` where they are the same.
fn vocabularies(expected: &LlamaTokenizer, actual: &LlamaTokenizer) -> Option<String> {
    let sizes = (expected.vocab_size(), actual.vocab_size());
    let differing = (0..sizes.0.max(sizes.1) as i64).find(|&id| expected.token(id) != actual.token(id))?;
    let token = |tokenizer: &LlamaTokenizer| {
        tokenizer.token(differing).map_or_else(|| "none".to_owned(), |token| format!("{token:?}"))
    };
    Some(format!(
        "the vocabularies have {} and {} tokens; the first that differs is {differing}: {} and {}",
        sizes.0,
        sizes.1,
        token(expected),
        token(actual)
    ))
}

/// Returns ids for a message.
fn shown(ids: &[i64]) -> String {
    let listed: Vec<String> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if ids.len() > SHOWN { format!(", … ({} in all)", ids.len()) } else { String::new() };
    format!("[{}{more}]", listed.join(", "))
}
