//! A PyTorch that is there already: in the active environment, or of the `python3` on PATH. No Python runs for it.

use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::installed;

/// Returns the first directory `torch` of the right version, with that version, of an active environment.
pub fn active(env: &Env) -> Option<(PathBuf, String)> {
    let named =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(|name| env.get(name)).map(PathBuf::from);
    let on_path =
        env.get("PATH").into_iter().flat_map(std::env::split_paths).find(|dir| dir.join("python3").exists());
    let prefixes = named.chain(on_path.and_then(|bin| bin.parent().map(Path::to_owned)));
    let users = env.home().map(|home| home.join(".local"));
    let mut candidates = prefixes.chain(users).flat_map(|prefix| packages(&prefix));
    candidates.find_map(|dir| {
        let torch = dir.join("torch");
        installed::check(&torch).ok().map(|version| (torch, version))
    })
}

/// Returns the directories of packages below a prefix, of the newest Python first.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for lib in ["lib", "lib64", "local/lib"] {
        let Ok(entries) = std::fs::read_dir(prefix.join(lib)) else { continue };
        let mut pythons: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        pythons.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        });
        pythons.sort();
        for python in pythons.into_iter().rev() {
            found.extend(["site-packages", "dist-packages"].map(|name| python.join(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_active_environment_is_found_and_another_version_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let install = |place: &str, version: &str| {
            let torch = dir.path().join(place).join("torch");
            fs::create_dir_all(torch.join("lib")).unwrap();
            fs::write(torch.join("version.py"), format!("__version__ = '{version}'\n")).unwrap();
            fs::write(torch.join(format!("lib/libtorch_cpu.{}", std::env::consts::DLL_EXTENSION)), "")
                .unwrap();
            torch
        };
        let root = dir.path().display().to_string();
        install("old/lib/python3.12/site-packages", "2.9.1+cu128");
        let venv = install("venv/lib/python3.9/site-packages", "2.11.0+cu126");
        let system = install("usr/local/lib/python3.12/dist-packages", "2.11.0+cu130");
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("usr/bin/python3"), "").unwrap();
        let find = |variables: &[(&str, &str)]| active(&Env::of(variables)).map(|(torch, _)| torch);
        let (old, new, path) =
            (format!("{root}/old"), format!("{root}/venv"), format!("{root}/none:{root}/usr/bin"));
        assert_eq!(find(&[("VIRTUAL_ENV", &new), ("PATH", &path)]), Some(venv));
        assert_eq!(find(&[("CONDA_PREFIX", &old), ("PATH", &path)]), Some(system));
        assert_eq!(find(&[("CONDA_PREFIX", &old)]), None);
    }
}
