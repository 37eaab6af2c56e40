//! Checks that crates import each other only as the table of ARCHITECTURE.md allows. That table is the rule, read from the page.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use xtask::process::capture;

/// The crates of ours that a crate may import.
#[derive(Debug, Clone, PartialEq, Eq)]
enum May {
    /// These.
    Import(Vec<String>),
    /// All others but these.
    ImportAllBut(Vec<String>),
}

/// Each crate of the table with what it may import.
type Rules = BTreeMap<String, May>;

/// Page and heading of the table.
const PAGE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Who may import whom";

/// A build dependency of every crate that links libtorch.
const BUILD_HELPER: &str = "link-libtorch";

/// Reads the table below [`HEADING`]: importing crates in the first column, imported ones (or `anything`) in the second.
fn read_rules(page: &str) -> Result<Rules> {
    let (_, section) = page.split_once(HEADING).with_context(|| format!("`{PAGE}` has no `{HEADING}`"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rules = Rules::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let Some((crates, imports)) = row.trim_matches('|').split_once('|') else {
            bail!("`{PAGE}`: row `{row}` has no second column");
        };
        let may = match imports.trim() {
            text if text.starts_with("anything") => May::ImportAllBut(code_spans(text)),
            text => May::Import(code_spans(text)),
        };
        rules.extend(code_spans(crates).into_iter().map(|name| (name, may.clone())));
    }
    Ok(rules)
}

/// Returns the texts between backticks.
fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Crates of others that only some of ours may import.
fn reserved_for(dependency: &str) -> Option<&'static [&'static str]> {
    match dependency {
        "clap" => Some(&["cli", "terminal", "benches", "fake-cuda", "faults", "manuals", "xtask", "world"]),
        "anyhow" => Some(&["cli", "benches", "fake-cuda", "faults", "manuals", "xtask", "world"]),
        "tokio" | "axum" => Some(&["serve"]),
        _ => None,
    }
}

/// Crates that have to be built before there is a libtorch, or need none.
const WITHOUT_LIBTORCH: [&str; 8] = [
    "faults",
    "get-libtorch",
    "link-libtorch",
    "llama-tokenizer",
    "plain-files",
    "terminal",
    "world",
    "xtask",
];

/// The part of `cargo metadata` that matters: the crates of the workspace, and what each imports, tests and builds included.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

/// Lists every import in the workspace at `root` that the table forbids, as sentences.
///
/// # Errors
/// When the page or a manifest cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let page = root.join(PAGE);
    let page = std::fs::read_to_string(&page).with_context(|| format!("cannot read `{}`", page.display()))?;
    Ok(violations(&read_rules(&page)?, &read_members(root)?))
}

fn violations(rules: &Rules, members: &[Member]) -> Vec<String> {
    let ours = |name: &str| members.iter().any(|member| member.name == name);
    let mut found = Vec::new();
    for Member { name, dependencies } in members {
        let Some(may) = rules.get(name) else {
            found.push(format!("crate `{name}` is not in the table of arrows ({PAGE})"));
            continue;
        };
        // A crate's tests may turn on its own features, by a dependency on itself.
        for dependency in dependencies.iter().map(|of| &of.name).filter(|dependency| *dependency != name) {
            let (allowed, what_it_may) = match may {
                May::Import(these) => (these.contains(dependency), list(these)),
                May::ImportAllBut(these) => {
                    (!these.contains(dependency), format!("anything but {}", list(these)))
                }
            };
            if ours(dependency) && !allowed && dependency != BUILD_HELPER {
                found.push(format!("`{name}` imports `{dependency}`; it may import {what_it_may}"));
            }
            if let Some(owners) = reserved_for(dependency).filter(|owners| !owners.contains(&name.as_str())) {
                let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
                found.push(format!("`{name}` imports `{dependency}`, which is for {}", list(&owners)));
            }
            let libtorch = ["tch", "torch-sys"].contains(&dependency.as_str());
            if libtorch && WITHOUT_LIBTORCH.contains(&name.as_str()) {
                found.push(format!("`{name}` imports `{dependency}`; it links no libtorch"));
            }
        }
    }
    found
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none of ours".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

fn read_members(root: &Path) -> Result<Vec<Member>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let metadata = capture(cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cannot read `cargo metadata`")?;
    Ok(metadata.packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let page = "# A\n\n## Who may import whom (held)\n\n| crate | may import |\n|---|---|\n| `lora` | none of ours |\n\
                    | `trainer`, `merge` | `nn-core`, `weights` |\n| `cli`, `xtask` | anything; it composes |\n\n## Next\n\n| `x` | `y` |\n";
        read_rules(page).unwrap()
    }

    fn member(name: &str, dependencies: &[&str]) -> Member {
        let dependencies = dependencies.iter().map(|&name| Dependency { name: name.to_owned() });
        Member { name: name.to_owned(), dependencies: dependencies.collect() }
    }

    #[test]
    fn the_workspace_has_only_arrows_of_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(read_members(root).unwrap().iter().any(|member| member.name == "nn-core"));
        assert_eq!(check(root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_arrow_is_caught_wherever_it_is_written() {
        let dir = std::env::temp_dir().join(format!("xtask-arrows-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let shared = "lora.path = 'lora'\nadapters = { path = 'lora', package = 'lora' }";
        write(
            "Cargo.toml",
            &format!("[workspace]\nmembers = ['lora', 'trainer']\n[workspace.dependencies]\n{shared}"),
        );
        write("lora/Cargo.toml", "package.name = 'lora'");
        write("lora/src/lib.rs", "");
        write("trainer/src/lib.rs", "");
        for manifest in [
            "[dependencies]\nlora.workspace = true",
            "[dev-dependencies]\nlora.workspace = true",
            "[build-dependencies]\nlora = { path = '../lora' }",
            "[target.'cfg(unix)'.dependencies]\nlora.workspace = true",
            "[dependencies]\nother = { package = 'lora', path = '../lora' }",
            "[dependencies]\nadapters.workspace = true",
        ] {
            write("trainer/Cargo.toml", &format!("package.name = 'trainer'\n{manifest}"));
            let found = violations(&rules(), &read_members(&dir).unwrap());
            assert_eq!(found, ["`trainer` imports `lora`; it may import `nn-core`, `weights`"], "{manifest}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
        let found = violations(&rules(), &[member("cli", &["lora", "clap"]), member("lora", &[])]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_reserved_dependency_and_a_libtorch_where_none_is_are_caught() {
        let named = |name, dependency| violations(&rules(), &[member(name, &[dependency])]);
        assert_eq!(
            named("lora", "anyhow"),
            [
                "`lora` imports `anyhow`, which is for `cli`, `benches`, `fake-cuda`, `faults`, `manuals`, `xtask`, `world`"
            ]
        );
        assert_eq!(named("cli", "tokio"), ["`cli` imports `tokio`, which is for `serve`"]);
        assert_eq!(named("xtask", "tch"), ["`xtask` imports `tch`; it links no libtorch"]);
    }

    #[test]
    fn a_crate_without_a_place_is_caught() {
        let found = violations(&rules(), &[member("stray", &[])]);
        assert!(found.len() == 1 && found[0].contains("`stray` is not in the table"), "{found:?}");
    }
}
