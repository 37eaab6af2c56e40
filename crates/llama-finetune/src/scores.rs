//! Scores of an answer against a reference: exact match, and ROUGE-L (Lin, "ROUGE: A Package for Automatic Evaluation of
//! Summaries", 2004).

/// Computes ROUGE-L: the F1 of the longest common subsequence of words, from 0 to 1, as `rouge_score` does without
/// stemming. Words are runs of letters and digits in lower case. Chinese, Japanese and Korean have no spaces between words; there each character is one.
/// Two texts without a word are alike only if both are empty of them.
pub fn rouge_l(reference: &str, answer: &str) -> f64 {
    let (reference, answer) = (words(reference), words(answer));
    if reference.is_empty() || answer.is_empty() {
        return if reference.is_empty() && answer.is_empty() { 1.0 } else { 0.0 };
    }
    let common = longest_common(&reference, &answer) as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / answer.len() as f64, common / reference.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        let alone = is_word_of_its_own(character);
        if !alone && character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if alone {
            words.push(character.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Checks for an ideograph, a kana or a Hangul syllable.
fn is_word_of_its_own(character: char) -> bool {
    matches!(u32::from(character), 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Checks for an exact match: the texts are equal but for spaces around them.
pub fn exact_match(reference: &str, answer: &str) -> bool {
    reference.trim() == answer.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rouge_l_gives_the_figures_of_the_paper() {
        // Lin's example: S1 "police killed the gunman", S2 "police kill the gunman", S3 "the gunman kill police".
        assert!((rouge_l("police killed the gunman", "police kill the gunman") - 0.75).abs() < 1e-12);
        assert!((rouge_l("police killed the gunman", "the gunman kill police") - 0.5).abs() < 1e-12);
        // 3 of 5 words found, 3 of 3 right.
        assert!((rouge_l("a b c d e", "a c e") - 0.75).abs() < 1e-12);
    }

    #[test]
    fn case_and_punctuation_are_ignored() {
        assert!((rouge_l("Abel is a cat.", "abel, is a CAT") - 1.0).abs() < 1e-12);
        assert!(rouge_l("cat", "").abs() < 1e-12);
        assert!((rouge_l("", "") - 1.0).abs() < 1e-12);
    }

    #[test]
    fn chinese_is_compared_character_by_character() {
        assert!((rouge_l("大模型微调", "大模型推理") - 0.6).abs() < 1e-12);
    }
}
