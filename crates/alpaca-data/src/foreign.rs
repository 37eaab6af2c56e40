//! Files that are no JSON, recognised by how they begin.

use std::fmt;

/// A kind of file that holds no records as JSON, and the way to get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    kind: &'static str,
    advice: &'static str,
}

impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, not JSON; {}", self.kind, self.advice)
    }
}

const UNPACK: &str = "unpack it and name the file inside";
const CONVERT: &str =
    "convert it to JSON Lines, in Python by `datasets.load_dataset(…)[\"train\"].to_json(\"records.jsonl\")`";
const SAVE_AS_UTF_8: &str = "save it as UTF-8";
const FETCH: &str = "what was fetched is a page about the file, such as a login; fetch the file itself";

/// First bytes of binary files.
const SIGNATURES: [(&[u8], &str, &str); 14] = [
    (b"\x1f\x8b", "gzip-compressed", UNPACK),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"BZh", "bzip2-compressed", UNPACK),
    (b"\xfd7zXZ\x00", "xz-compressed", UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"PAR1", "a Parquet file", CONVERT),
    (b"ARROW1", "an Arrow file", CONVERT),
    (b"\xff\xff\xff\xff", "an Arrow stream", CONVERT),
    (b"SQLite format 3\x00", "an SQLite database", "write its rows as JSON Lines"),
    (b"%PDF-", "a PDF", "write its records as JSON"),
    (b"\xff\xfe", "UTF-16 text", SAVE_AS_UTF_8),
    (b"\xfe\xff", "UTF-16 text", SAVE_AS_UTF_8),
    (
        plain_files::LFS_POINTER,
        "a Git LFS pointer",
        "run `git lfs pull` where it was cloned, or fetch the file itself",
    ),
];

/// Names of columns by which a first line is known as the header of a table.
const COLUMNS: [&str; 10] = [
    "instruction",
    "input",
    "output",
    "prompt",
    "response",
    "question",
    "answer",
    "text",
    "messages",
    "conversations",
];

/// Recognises the kind of a file; `None` for text that begins as JSON does, and for what is unknown.
pub(crate) fn recognise(bytes: &[u8]) -> Option<Foreign> {
    let signature = SIGNATURES.iter().find(|(magic, ..)| bytes.starts_with(magic));
    if let Some(&(_, kind, advice)) = signature {
        return Some(Foreign { kind, advice });
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let lower = head.to_ascii_lowercase();
    let first_line = lower.lines().next().unwrap_or_default();
    if lower.starts_with(['[', '{']) {
        // Python prints its lists and dictionaries with single quotes.
        let inside = lower.trim_start_matches(['[', '{', ' ', '\n', '\r', '\t']);
        let advice = "write it by `json.dump`, not by `print` or `str`";
        return inside.starts_with('\'').then_some(Foreign { kind: "Python's print of a list", advice });
    }
    if ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| lower.starts_with(tag))
        || (lower.starts_with('<') && lower.contains("<html"))
    {
        return Some(Foreign { kind: "an HTML page", advice: FETCH });
    }
    if lower.starts_with('<') {
        return Some(Foreign { kind: "XML", advice: "write its records as JSON" });
    }
    for (separator, kind) in [(',', "CSV"), ('\t', "a table with tabs (TSV)"), (';', "CSV with semicolons")] {
        let names: Vec<&str> =
            first_line.split(separator).map(|name| name.trim().trim_matches('"')).collect();
        if names.len() > 1 && names.iter().any(|name| COLUMNS.contains(name)) {
            return Some(Foreign { kind, advice: CONVERT });
        }
    }
    let key = first_line.trim_start_matches(['-', ' ']).split_once(':').map(|(key, _)| key);
    if first_line == "---" || key.is_some_and(|key| COLUMNS.contains(&key)) {
        return Some(Foreign { kind: "YAML", advice: "write its records as JSON" });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_recognised_by_how_it_begins() {
        for (bytes, kind) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip-compressed"),
            (b"PK\x03\x04\x14", "a zip archive"),
            (b"PAR1\x15\x04", "a Parquet file"),
            (b"\xff\xfe[\x00", "UTF-16 text"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
            (b"\n<!DOCTYPE html>\n<html>", "an HTML page"),
            (b"<!-- login --><html lang=\"en\">", "an HTML page"),
            (b"<?xml version=\"1.0\"?>", "XML"),
            (b"\xef\xbb\xbfinstruction,input,output\n", "CSV"),
            (b"id\tprompt\n", "a table with tabs (TSV)"),
            (b"\"instruction\";\"output\"\n", "CSV with semicolons"),
            (b"- instruction: a\n  output: b\n", "YAML"),
            (b"[{'instruction': 'a'}]", "Python's print of a list"),
        ] {
            let found = recognise(bytes).map(|found| found.kind);
            assert_eq!(found, Some(kind), "{}", String::from_utf8_lossy(bytes));
        }
        for text in ["[]", "{\"instruction\": 1}", "A story, told once.\n", "", "null"] {
            assert_eq!(recognise(text.as_bytes()), None, "{text}");
        }
    }
}
