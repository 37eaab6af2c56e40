//! Checks that crates import each other only as the table of ARCHITECTURE.md allows. That table is the rule, read from the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

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

/// The sections of a manifest that make one crate import another. Tests are no way round.
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

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
        "clap" | "anyhow" => Some(&["cli", "benches", "faults", "xtask", "world"]),
        "tokio" | "axum" => Some(&["serve"]),
        _ => None,
    }
}

/// Crates that have to be built before there is a libtorch, or need none.
const WITHOUT_LIBTORCH: [&str; 6] =
    ["faults", "link-libtorch", "llama-tokenizer", "plain-files", "world", "xtask"];

/// One crate of the workspace and what its manifest names, by the names of the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    dependencies: Vec<String>,
}

/// Lists every import in the workspace at `root` that the table forbids, as sentences.
///
/// # Errors
/// When a manifest cannot be read.
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
        for dependency in dependencies.iter().filter(|dependency| *dependency != name) {
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
    let manifest = read_toml(&root.join("Cargo.toml"))?;
    let workspace =
        manifest.get("workspace").and_then(Value::as_table).context("Cargo.toml has no [workspace]")?;
    let patterns =
        workspace.get("members").and_then(Value::as_array).context("[workspace] has no members")?;
    let shared = workspace.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
    let renamed: BTreeMap<&str, &str> = shared
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), value.get("package")?.as_str()?)))
        .collect();
    let mut members = Vec::new();
    for pattern in patterns.iter().filter_map(Value::as_str) {
        for dir in member_dirs(root, pattern)? {
            members
                .push(member(&read_toml(&dir.join("Cargo.toml"))?, &renamed).with_context(|| {
                    format!("`{}` has no package name", dir.join("Cargo.toml").display())
                })?);
        }
    }
    Ok(members)
}

/// Returns the directories of a member pattern: a path, or all folders with a manifest in one.
fn member_dirs(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let Some(parent) = pattern.strip_suffix("/*") else { return Ok(vec![root.join(pattern)]) };
    let parent = root.join(parent);
    let entries =
        std::fs::read_dir(&parent).with_context(|| format!("cannot read `{}`", parent.display()))?;
    let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    dirs.retain(|dir| dir.join("Cargo.toml").exists());
    dirs.sort();
    Ok(dirs)
}

fn member(manifest: &Table, renamed: &BTreeMap<&str, &str>) -> Option<Member> {
    let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let mut dependencies = Vec::new();
    for table in tables {
        for section in SECTIONS.iter().filter_map(|section| table.get(*section)?.as_table()) {
            for (key, value) in section {
                let package = value.get("package").and_then(Value::as_str);
                let package = package.or_else(|| renamed.get(key.as_str()).copied()).unwrap_or(key);
                dependencies.push(package.to_owned());
            }
        }
    }
    Some(Member { name, dependencies })
}

fn read_toml(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    text.parse().with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let page = "# A\n\n## Who may import whom (held)\n\n| crate | may import |\n|---|---|\n| `lora` | none of ours |\n\
                    | `trainer`, `merge` | `nn-core`, `weights` |\n| `cli`, `xtask` | anything; it composes |\n\n## Next\n\n| `x` | `y` |\n";
        read_rules(page).unwrap()
    }

    fn read(text: &str) -> Member {
        member(&text.parse().unwrap(), &BTreeMap::from([("adapters", "lora")])).unwrap()
    }

    #[test]
    fn the_workspace_has_only_arrows_of_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(
            read_members(root)
                .unwrap()
                .iter()
                .any(|member| member.dependencies.contains(&"nn-core".to_owned()))
        );
        assert_eq!(check(root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_arrow_is_caught_wherever_it_is_written() {
        let lora = read("package.name = 'lora'");
        for manifest in [
            "[dependencies]\nlora.workspace = true",
            "[dev-dependencies]\nlora.workspace = true",
            "[build-dependencies]\nlora = { path = '../lora' }",
            "[target.'cfg(unix)'.dependencies]\nlora.workspace = true",
            "[dependencies]\nother = { package = 'lora', path = '../lora' }",
            "[dependencies]\nadapters.workspace = true",
        ] {
            let trainer = read(&format!("package.name = 'trainer'\n{manifest}"));
            let found = violations(&rules(), &[trainer, lora.clone()]);
            assert_eq!(found, ["`trainer` imports `lora`; it may import `nn-core`, `weights`"], "{manifest}");
        }
        let cli = read("package.name = 'cli'\n[dependencies]\nlora.workspace = true\nclap.workspace = true");
        assert_eq!(violations(&rules(), &[cli, lora]), Vec::<String>::new());
    }

    #[test]
    fn a_reserved_dependency_and_a_libtorch_where_none_is_are_caught() {
        let named = |text: &str| violations(&rules(), &[read(text)]);
        assert_eq!(
            named("package.name = 'lora'\n[dependencies]\nanyhow.workspace = true"),
            ["`lora` imports `anyhow`, which is for `cli`, `benches`, `faults`, `xtask`, `world`"]
        );
        assert_eq!(
            named("package.name = 'cli'\n[dependencies]\ntokio = '1'"),
            ["`cli` imports `tokio`, which is for `serve`"]
        );
        assert_eq!(
            named("package.name = 'xtask'\n[dependencies]\ntch = '1'"),
            ["`xtask` imports `tch`; it links no libtorch"]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_caught() {
        let found = violations(&rules(), &[read("package.name = 'stray'")]);
        assert!(found.len() == 1 && found[0].contains("`stray` is not in the table"), "{found:?}");
    }
}
