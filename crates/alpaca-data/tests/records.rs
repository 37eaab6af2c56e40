//! Records are read whole, or refused by index, line and reason.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use alpaca_data::{BadRecords, DataError, IgnoredColumns, ReadConfig, Record, Records, load_records};

/// Reads records through a file, as programs do.
fn parse_records(text: &[u8], config: impl Into<ReadConfig>) -> Result<Records<Record>, DataError> {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("alpaca-data-{}-{number}.json", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let records = load_records(&path, config);
    std::fs::remove_file(&path).unwrap();
    records
}

fn refused(text: &str) -> String {
    parse_records(text.as_bytes(), BadRecords::Refuse).unwrap_err().to_string()
}

#[test]
fn an_array_and_json_lines_hold_the_same_records() {
    let array = "[\n  {\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"},\n  {\"instruction\": \"c\", \"output\": \"d\", \"kind\": 7}\n]";
    let lines = "\u{feff}{\"instruction\": \"a\", \"input\": null, \"output\": \"b\"}\n\n{\"instruction\": \"c\", \"output\": \"d\"}\n";
    let read = |text: &str| parse_records(text.as_bytes(), BadRecords::Refuse).unwrap().records;
    assert_eq!(read(array).len(), 2);
    assert_eq!(read(array), read(lines));
}

#[test]
fn a_bad_record_is_named_by_index_line_and_reason() {
    let array =
        "[\n{\"instruction\": \"a\", \"output\": \"b\"},\n\n{\"instruction\": \"a\",\n \"output\": 3}]";
    let error = refused(array);
    assert!(
        error.contains("record 1 (line 4) has an `output` that is a number; expected a string"),
        "{error}"
    );
    let lines = "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"a\"}\n";
    assert!(refused(lines).contains("record 1 (line 2) has no `output`"));
    assert!(refused("[{\"instruction\": \" \", \"output\": \"\"}]").contains("empty `instruction`"));
    assert!(refused("[[1]]").contains("record 0 (line 1) is an array"));
    assert!(refused("{\"instruction\": \"a\", \"out").contains("record 0 (line 1) is not JSON"));
}

#[test]
fn skipping_keeps_the_good_and_counts_the_bad() {
    let text = "{\"instruction\": \"a\", \"output\": \"b\"}\nnot json\n{\"output\": \"b\"}\n";
    let records = parse_records(text.as_bytes(), BadRecords::Skip).unwrap();
    assert_eq!(records.records.len(), 1);
    assert_eq!(records.skipped.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_filled_column_without_a_place_in_the_prompt_is_refused_by_name_unless_ignored() {
    let text = r#"[{"instruction": "a", "output": "b", "system": "", "history": []},
        {"instruction": "a", "output": "b", "system": "Be brief.", "history": [["x", "y"]]},
        {"instruction": "a", "output": "b", "system": "Be brief.", "history": null, "id": 7}]"#;
    let read = |bad, ignored: &str| {
        parse_records(text.as_bytes(), ReadConfig { bad, ignored: ignored.parse().unwrap() })
    };
    for (ignored, column) in [("false", "system"), ("history", "system"), ("system", "history")] {
        for bad in [BadRecords::Refuse, BadRecords::Skip] {
            let error = read(bad, ignored).unwrap_err().to_string();
            let expected = format!("record 1 (line 2) fills the column `{column}`");
            assert!(error.contains(&expected), "{ignored}: {error}");
        }
    }
    for ignored in ["true", "history, system"] {
        let found = read(BadRecords::Refuse, ignored).unwrap();
        assert_eq!(found.records.len(), 3);
        assert_eq!(found.ignored, [("system", 2), ("history", 1)]);
    }
    let named = IgnoredColumns::Named(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(named.to_string().parse(), Ok(named));
}

#[test]
fn files_without_records_are_refused() {
    for text in ["", " \n", "[]"] {
        assert!(refused(text).contains("no usable record"), "{text:?}");
    }
    assert!(refused("instruction,input\n").contains("is CSV, not JSON"));
    assert!(refused("Instructions\n").contains("starts with `I`"));
    assert!(refused("[{\"instruction\": \"a\"").contains("not a JSON array"));
    let error = load_records(Path::new("no/such/file"), BadRecords::Refuse).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }));
}

#[test]
fn a_device_or_a_directory_is_refused_without_reading_on_for_ever() {
    for path in [Path::new("/dev/zero"), Path::new(env!("CARGO_MANIFEST_DIR"))] {
        let error = load_records(path, BadRecords::Refuse).unwrap_err();
        assert!(matches!(error, DataError::Read { .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_not_text_is_refused_with_the_offset() {
    let error = parse_records(b"[{\"a\": \"\xff\"}]", BadRecords::Refuse).unwrap_err().to_string();
    assert!(error.contains("the byte at 8 is wrong"), "{error}");
}

#[test]
fn the_large_alpaca_file_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/alpaca/alpaca_data.json");
    if !path.exists() {
        eprintln!("skipped: {} is absent", path.display());
        return;
    }
    assert_eq!(load_records(&path, BadRecords::Refuse).unwrap().records.len(), 52_002);
}
