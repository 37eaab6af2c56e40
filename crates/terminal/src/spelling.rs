//! Spellings of flags.

use std::ffi::OsString;

/// Turns `-` inside the name of a flag into `_`: `--base-model` is `--base_model`. Values stay as they are.
pub fn normalised(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.map(|arg| match arg.to_str().filter(|text| text.starts_with("--") && text.len() > 2) {
        Some(text) => {
            let (name, value) = text[2..].split_once('=').map_or((&text[2..], None), |(n, v)| (n, Some(v)));
            let name = name.replace('-', "_");
            OsString::from(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")))
        }
        None => arg,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_underscores_spell_the_same_flag() {
        let args = ["finetune", "--base-model", "my-model", "--lora-r=4", "--", "-x"].map(OsString::from);
        let expected = ["finetune", "--base_model", "my-model", "--lora_r=4", "--", "-x"].map(OsString::from);
        assert_eq!(normalised(args.into_iter()).collect::<Vec<_>>(), expected);
    }
}
