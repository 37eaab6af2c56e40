//! The pages of `docs/flags` are the programs' flags.

use std::path::Path;

use clap::{CommandFactory, Parser};
use xtask::flag_page::{compare, page};

use crate::programs;

fn introduction(guide: Option<&str>) -> String {
    let guide = guide.map(|guide| format!("The guide is [{guide}](../{guide}). ")).unwrap_or_default();
    format!(
        "{guide}`--help` and `--version` print and end. A value in `[ ]` may be left out: the flag alone means `true`."
    )
}

#[test]
fn flag_pages_are_what_the_programs_take() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let wrong: Vec<String> = programs()
        .into_iter()
        .filter_map(|(command, guide)| {
            let name = command.get_name().to_owned();
            compare(root, &name, &page(command, &introduction(guide), true)).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flag_page_says_every_name_value_and_default() {
    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Tool {
        /// How many [default: 3]
        #[arg(long = "how_many", alias = "n", value_name = "N")]
        how_many: Option<u32>,
        /// Yes | no
        #[arg(long, default_value = "a", value_parser = ["a", "b"], env = "TOOL_KIND")]
        kind: String,
        /// Old
        #[arg(long, hide = true)]
        old: bool,
        /// New
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
        new: bool,
    }
    let text = page(Tool::command(), "Introduction.", true);
    for line in [
        "| `--how_many`<br>`--how-many`<br>`--n` | `N` | 3 | How many |",
        "| `--kind` | `a`, `b` | a | Yes \\| no (or `TOOL_KIND` in the environment) |",
        "| `--old` | – | – | Old |",
        "| `--new` | `[BOOL]` | false | New |",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("**Accepted, without effect**"));
    let Tool { how_many: None, kind: _, old: false, new: false } = Tool::parse_from(["tool"]) else {
        panic!("other defaults")
    };
}

#[test]
fn flag_page_that_is_old_is_named_with_its_remedy() {
    if std::env::var_os("WRITE_FLAG_PAGES").is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("docs/flags")).unwrap();
    std::fs::write(dir.path().join("docs/flags/tool.md"), "one\ntwo\n").unwrap();
    compare(dir.path(), "tool", "one\ntwo\n").unwrap();
    for other in ["one\n", "one\ntwo\nthree\n", "one\n2\n"] {
        let error = compare(dir.path(), "tool", other).unwrap_err();
        assert!(error.contains("docs/flags/tool.md") && error.contains("WRITE_FLAG_PAGES=1"), "{error}");
    }
}
