//! `cargo xtask goldens`: runs the scripts that made the golden files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use xtask::output::{note, say};
use xtask::process::run_to_stderr;
use xtask::python;
use xtask::workspace::Workspace;

/// Numbers of a golden may differ by this much, relative to the larger: another machine's float32 sums.
const RELATIVE_TOLERANCE: f64 = 1e-4;
/// Or by this much, near zero.
const ABSOLUTE_TOLERANCE: f64 = 1e-5;

#[derive(Debug, Args)]
pub(crate) struct GoldensArgs {
    /// Change nothing; fail when a golden file does not come out as it is committed
    #[arg(long)]
    check: bool,
    /// Python with torch, transformers, peft, bitsandbytes, accelerate, sentencepiece, protobuf and gguf
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
}

pub(crate) fn run(workspace: &Workspace, args: &GoldensArgs) -> Result<()> {
    python::check(&args.python, &["torch", "transformers"])?;
    let data_at_hand = workspace.path("../shared/data").is_dir();
    let mut problems = Vec::new();
    for dir in golden_dirs(&workspace.root)? {
        let scripts = scripts(&dir)?;
        if scripts.is_empty() {
            continue;
        }
        let shown = dir.strip_prefix(&workspace.root).unwrap_or(&dir).display().to_string();
        let out = if args.check {
            let out = workspace.path("target/goldens").join(&shown);
            let _ = fs::remove_dir_all(&out);
            fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
            out
        } else {
            dir.clone()
        };
        for script in scripts {
            run_to_stderr(workspace.command(&args.python).arg(script).arg(&out))?;
        }
        if args.check {
            let compared = compare_dirs(&dir, &out)?;
            problems.extend(compared.problems.iter().map(|problem| format!("{shown}/{problem}")));
            for file in &compared.not_made {
                let file = format!("{shown}/{}", file.display());
                if data_at_hand {
                    problems.push(format!("{file}: no script makes it"));
                } else {
                    note(&format!("skipped: {file}, which no script makes without ../shared/data"));
                }
            }
        }
        note(&format!("{shown}: {}", if args.check { "compared" } else { "remade" }));
    }
    if problems.is_empty() {
        say(if args.check {
            "every golden file comes out as it is committed"
        } else {
            "golden files are remade"
        });
        return Ok(());
    }
    bail!("{}", problems.join("\n       "))
}

fn golden_dirs(root: &Path) -> Result<Vec<PathBuf>> {
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates).with_context(|| format!("cannot read `{}`", crates.display()))?;
    let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("tests/goldens")).collect();
    dirs.retain(|dir| dir.is_dir());
    dirs.sort();
    Ok(dirs)
}

fn scripts(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut scripts: Vec<PathBuf> =
        files(dir)?.into_iter().filter(|file| is_script(file)).map(|file| dir.join(file)).collect();
    scripts.sort();
    Ok(scripts)
}

fn is_script(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.components().count() == 1
        && name.starts_with("make")
        && file.extension().is_some_and(|ext| ext == "py")
}

/// Returns every file under a directory, relative to it; Python's own leavings and helper modules are no goldens.
fn files(dir: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read `{}`", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "__pycache__") {
                    open.push(path);
                }
            } else if let Ok(relative) = path.strip_prefix(dir) {
                found.insert(relative.to_owned());
            }
        }
    }
    Ok(found)
}

/// Committed golden files beside those that scripts made.
#[derive(Debug, Default)]
struct Compared {
    /// Differences, as sentences.
    problems: Vec<String>,
    /// Committed files that no script made.
    not_made: Vec<PathBuf>,
}

fn compare_dirs(committed: &Path, remade: &Path) -> Result<Compared> {
    let no_source = |files: BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
        files
            .into_iter()
            .filter(|file| !file.extension().is_some_and(|ext| ext == "py" || ext == "md"))
            .collect()
    };
    let (old, new) = (no_source(files(committed)?), no_source(files(remade)?));
    let mut compared = Compared::default();
    for file in old.union(&new) {
        let name = file.display();
        let problems = &mut compared.problems;
        if !new.contains(file) {
            compared.not_made.push(file.clone());
        } else if !old.contains(file) {
            problems.push(format!("{name}: a script makes it, but it is not there"));
        } else if let Some(difference) = compare_files(&committed.join(file), &remade.join(file))? {
            problems.push(format!("{name}: {difference}"));
        }
    }
    Ok(compared)
}

fn compare_files(old: &Path, new: &Path) -> Result<Option<String>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let (old_bytes, new_bytes) = (read(old)?, read(new)?);
    if old_bytes == new_bytes {
        return Ok(None);
    }
    if old.extension().is_none_or(|ext| ext != "json") {
        return Ok(Some("its bytes differ".to_owned()));
    }
    let parse = |path: &Path, bytes: &[u8]| -> Result<Value> {
        serde_json::from_slice(bytes).with_context(|| format!("`{}` is no JSON", path.display()))
    };
    Ok(difference(&parse(old, &old_bytes)?, &parse(new, &new_bytes)?, "$"))
}

/// Returns the first place where two JSON values differ by more than the tolerance.
fn difference(old: &Value, new: &Value, place: &str) -> Option<String> {
    match (old, new) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let allowed = ABSOLUTE_TOLERANCE.max(RELATIVE_TOLERANCE * a.abs().max(b.abs()));
            let same = (a - b).abs() <= allowed;
            (!same).then(|| format!("{place} is {a}, and {b} when remade"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(a, b, &format!("{place}[{i}]")))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, value)| difference(value, b.get(key)?, &format!("{place}.{key}")))
        }
        (a, b) if a == b => None,
        _ => Some(format!("{place} is of another value or length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_differ_by_rounding_and_by_nothing_else() {
        let old = json!({"loss": [1.0, 2.0], "name": "a"});
        let differs = |new: Value| difference(&old, &new, "$");
        assert_eq!(differs(json!({"loss": [1.000_05, 2.0], "name": "a"})), None);
        assert_eq!(
            differs(json!({"loss": [1.0, 2.01], "name": "a"})).unwrap(),
            "$.loss[1] is 2, and 2.01 when remade"
        );
        for other in [
            json!({"loss": [1.0], "name": "a"}),
            json!({"loss": [1.0, 2.0]}),
            json!({"loss": [1.0, 2.0], "name": "b"}),
        ] {
            assert!(differs(other.clone()).is_some(), "{other}");
        }
    }

    #[test]
    fn only_scripts_at_the_top_named_make_are_run() {
        assert!(is_script(Path::new("make.py")) && is_script(Path::new("make_models.py")));
        assert!(!is_script(Path::new("helper.py")) && !is_script(Path::new("sub/make.py")));
    }
}
