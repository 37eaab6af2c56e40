//! A command line as one would type it again.

/// Joins the words of a command line, quoted for a POSIX shell where that is needed. The values of the flags `secret` are left out.
pub fn shell_line(words: impl IntoIterator<Item = String>, secret: &[&str]) -> String {
    let mut line: Vec<String> = Vec::new();
    let mut hides_next = false;
    for word in words {
        if std::mem::take(&mut hides_next) {
            line.push("…".to_owned());
            continue;
        }
        let (name, value) = word.split_once('=').map_or((&*word, None), |(name, value)| (name, Some(value)));
        let flag = name.strip_prefix("--").map(|name| name.replace('-', "_"));
        let is_secret = flag.is_some_and(|flag| secret.contains(&&*flag));
        match (is_secret, value) {
            (true, None) => {
                hides_next = true;
                line.push(word);
            }
            (true, Some(_)) => line.push(format!("{name}=…")),
            (false, _) => line.push(quoted(&word)),
        }
    }
    line.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "-_./:=,+@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_again_and_shows_no_key() {
        let line = |words: &[&str]| shell_line(words.iter().map(|&word| word.to_owned()), &["api_key"]);
        assert_eq!(
            line(&["finetune", "--data_path", "my data.json", "--x=", "it's"]),
            r"finetune --data_path 'my data.json' --x= 'it'\''s'"
        );
        for given in [&["f", "--api_key", "SECRET", "--web"][..], &["f", "--api-key=SECRET", "--web"]] {
            let line = line(given);
            assert!(!line.contains("SECRET") && line.ends_with("--web") && line.contains('…'), "{line}");
        }
    }
}
