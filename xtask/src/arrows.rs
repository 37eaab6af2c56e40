//! Who may import whom. The table is that of ARCHITECTURE.md; a crate that is not in it has no place yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Crates of ours that a crate may import.
enum May {
    /// These.
    Import(&'static [&'static str]),
    /// Any: it is where siblings meet.
    ImportAll,
}

/// The sections of a manifest that make one crate import another. Tests are no way round.
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The table, with crates that are still to come.
fn may_import(name: &str) -> Option<May> {
    Some(May::Import(match name {
        "torch-ext" | "llama-tokenizer" | "world" | "xtask" => &[],
        "nn-core" => &["torch-ext"],
        "weights" | "infer" => &["nn-core", "torch-ext"],
        "alpaca-data" => &["nn-core", "llama-tokenizer"],
        "llama-model" | "lora" | "qlora-nf4" | "trainer" => &["nn-core", "weights", "torch-ext"],
        "merge" => &["nn-core", "weights", "lora", "qlora-nf4", "torch-ext"],
        "checkpoint" => &[
            "llama-model",
            "llama-tokenizer",
            "lora",
            "merge",
            "nn-core",
            "qlora-nf4",
            "torch-ext",
            "weights",
        ],
        "serve" => &["infer", "nn-core"],
        "cli" | "benches" | "llama-finetune" => return Some(May::ImportAll),
        _ => return None,
    }))
}

/// Crates of others that only some of ours may import.
fn reserved_for(dependency: &str) -> Option<&'static [&'static str]> {
    match dependency {
        "clap" | "anyhow" => Some(&["cli", "benches", "xtask", "world"]),
        "tokio" | "axum" => Some(&["serve"]),
        _ => None,
    }
}

/// Crates that have to be built before there is a libtorch, or need none.
const WITHOUT_LIBTORCH: [&str; 3] = ["xtask", "world", "llama-tokenizer"];

/// One crate of the workspace and what its manifest names, by the names of the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    dependencies: Vec<String>,
}

/// Every arrow of the workspace in `root` that the table forbids, as sentences.
///
/// # Errors
/// When a manifest cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    Ok(violations(&read_members(root)?))
}

fn violations(members: &[Member]) -> Vec<String> {
    let ours = |name: &str| members.iter().any(|member| member.name == name);
    let mut found = Vec::new();
    for Member { name, dependencies } in members {
        let Some(may) = may_import(name) else {
            found.push(format!(
                "crate `{name}` is not in the table of arrows (xtask/src/arrows.rs, ARCHITECTURE.md)"
            ));
            continue;
        };
        for dependency in dependencies {
            // A crate's tests may turn on its own features.
            if dependency == name {
                continue;
            }
            if let (true, May::Import(allowed)) = (ours(dependency), &may)
                && !allowed.contains(&dependency.as_str())
            {
                found.push(format!("`{name}` imports `{dependency}`; it may import {}", list(allowed)));
            }
            if let Some(owners) = reserved_for(dependency).filter(|owners| !owners.contains(&name.as_str())) {
                found.push(format!("`{name}` imports `{dependency}`, which is for {}", list(owners)));
            }
            let libtorch = ["tch", "torch-sys"].contains(&dependency.as_str());
            if libtorch && WITHOUT_LIBTORCH.contains(&name.as_str()) {
                found.push(format!("`{name}` imports `{dependency}`; it links no libtorch"));
            }
        }
    }
    found
}

fn list(names: &[&str]) -> String {
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

/// The directories of a member pattern: a path, or all folders with a manifest in one.
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
            let found = violations(&[trainer, lora.clone()]);
            assert_eq!(
                found,
                ["`trainer` imports `lora`; it may import `nn-core`, `weights`, `torch-ext`"],
                "{manifest}"
            );
        }
        let cli = read("package.name = 'cli'\n[dependencies]\nlora.workspace = true\nclap.workspace = true");
        assert_eq!(violations(&[cli, lora]), Vec::<String>::new());
    }

    #[test]
    fn a_reserved_dependency_and_a_libtorch_where_none_is_are_caught() {
        let named = |text: &str| violations(&[read(text)]);
        assert_eq!(
            named("package.name = 'lora'\n[dependencies]\nanyhow.workspace = true"),
            ["`lora` imports `anyhow`, which is for `cli`, `benches`, `xtask`, `world`"]
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
        let found = violations(&[read("package.name = 'stray'")]);
        assert!(found.len() == 1 && found[0].contains("`stray` is not in the table"), "{found:?}");
    }
}
